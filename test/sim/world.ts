import type { ByteBudget, OpenRequest, Stream, StreamEvents } from "../../src/protocol/tunnel/session.ts";
import { createReader, createWriter, type Reader } from "./body.ts";
import { createLink, type Link } from "./link.ts";
import { createRandom } from "./random.ts";
import { createScenario, type Incident, type RequestPlan } from "./scenario.ts";
import { createTimeline } from "./timeline.ts";

/** One request as both ends live it. */
interface Exchange {
  readonly plan: RequestPlan;
  link: Link | null;
  atRelay: { readonly stream: Stream; readonly reader: Reader; evicted: boolean } | null;
  atConnector: { readonly stream: Stream; readonly reader: Reader } | null;
}

/** What a stream may hold although the budget is used up: its least window, and a message that is being put together. */
const BEYOND_BUDGET_BYTES = 64 * 1024;
const DOWN_BODY = 500;

/**
 * Runs the world of a seed to its end: a connector with two sockets to a relay, requests and what happens to them. Throws when something
 * is not as it must be. `trace` is told what happens.
 */
export function simulate(seed: number, trace: (text: string) => void = () => undefined): void {
  const random = createRandom(seed);
  const scenario = createScenario(random);
  const { limits, send, streamWindowMaxBytes, requests, incidents } = scenario;
  const time = createTimeline();
  const say = (text: string): void => trace(`${time.now().toFixed(1)} ms: ${text}`);
  const connectorBudget: ByteBudget = { totalBytes: scenario.connectorBudgetBytes, committedBytes: 0 };
  const exchanges: Exchange[] = requests.map((plan) => ({ plan, link: null, atRelay: null, atConnector: null }));
  const links: Link[] = [];
  let dials = 0;
  let released = false;

  const check = (): void => {
    const most = exchanges.length * (limits.streamWindowBytes + BEYOND_BUDGET_BYTES);
    for (const { committedBytes, totalBytes } of [connectorBudget, ...links.map(({ relayBudget }) => relayBudget)]) {
      if (committedBytes < 0) throw new Error(`a budget of ${committedBytes} bytes`);
      if (committedBytes > totalBytes + most) throw new Error(`${committedBytes} bytes of a budget of ${totalBytes}`);
    }
  };

  const soon = (delayMs: number, run: () => void): void => (delayMs === 0 ? run() : time.after(delayMs, run));

  const answer = (stream: Stream, request: OpenRequest): StreamEvents => {
    const index = Number(request.path.slice(1));
    const exchange = exchanges[index];
    if (exchange === undefined || exchange.atConnector !== null) throw new Error(`request ${index} is opened twice`);
    const { plan } = exchange;
    if (request.urgency !== plan.urgency || request.headers[0]?.[1] !== String(index)) throw new Error("a wrong head");
    const switches = plan.upgrade && plan.accepts;
    const reader = createReader(
      `request ${index} at the connector`,
      {
        body: index,
        bytes: plan.upgrade && !plan.accepts ? 0 : plan.upBytes,
        chunkBytes: plan.chunkBytes,
        messages: switches,
        trailers: plan.trailers && plan.upBytes > 0,
        takeMs: plan.takeMs,
        stalls: plan.stalledAt === "connector" && !released,
      },
      time,
      () => stream,
    );
    exchange.atConnector = { stream, reader };
    const write = createWriter(stream, { ...plan, body: index + DOWN_BODY, bytes: plan.downBytes, messages: switches });
    let answered = false;
    time.after(plan.answerMs, () => {
      if (plan.interim) stream.interim({ status: 103, headers: [] });
      stream.respond({ status: switches ? 101 : 200, headers: [["i", String(index)]] }, false);
      answered = true;
      write();
      if (plan.stops) stream.stopReceiving();
    });
    if (plan.resetBy === "connector") soon(plan.resetMs, () => stream.reset("target-reset", "planned"));
    return {
      ...reader.events,
      writable() {
        if (!answered) return;
        write();
        if (plan.stops) stream.stopReceiving();
      },
    };
  };

  const start = (exchange: Exchange, index: number): void => {
    const { plan } = exchange;
    const link = [links[plan.link], ...links.toReversed()].find((each) => each?.relay.state === "open" && !each.over);
    if (link === undefined) return say(`request ${index} finds no socket`);
    let write = (): void => undefined;
    const reader = createReader(
      `request ${index} at the relay`,
      {
        body: index + DOWN_BODY,
        bytes: plan.downBytes,
        chunkBytes: plan.chunkBytes,
        messages: plan.upgrade && plan.accepts,
        trailers: plan.trailers,
        takeMs: plan.takeMs,
        stalls: plan.stalledAt === "relay" && !released,
      },
      time,
      () => exchange.atRelay?.stream ?? null,
    );
    let heads = 0;
    const opened = link.relay.open(
      {
        target: "web",
        method: "POST",
        path: `/${index}`,
        headers: [["i", String(index)]],
        end: !plan.upgrade && plan.upBytes === 0,
        upgrade: plan.upgrade ? "websocket" : null,
        deadlineMs: 0,
        urgency: plan.urgency,
      },
      {
        ...reader.events,
        writable: () => write(),
        head({ status }) {
          if (status === 103) return;
          heads += 1;
          if (heads > 1) throw new Error(`request ${index} has two heads`);
          if (status === 101) write();
        },
      },
    );
    if (!opened.ok) return say(`request ${index} is refused: ${opened.error.reason}`);
    say(`request ${index} starts`);
    const { stream } = opened;
    exchange.link = link;
    exchange.atRelay = { stream, reader, evicted: false };
    write = createWriter(stream, { ...plan, body: index, bytes: plan.upBytes, messages: plan.upgrade });
    if (!plan.upgrade && plan.upBytes > 0) write();
    if (plan.resetBy === "relay") soon(plan.resetMs, () => stream.reset("cancelled", "planned"));
  };

  const dial = (place: 0 | 1): void => {
    dials += 1;
    const link: Link = createLink({
      name: `socket ${dials}`,
      shape: scenario.shapes[place],
      limits,
      send,
      streamWindowMaxBytes,
      relayBudgetBytes: scenario.relayBudgetBytes,
      connectorBudget,
      time,
      random,
      open: answer,
      trace: say,
      check,
      ready: () => say("a socket is ready"),
      evicted() {
        for (const exchange of exchanges)
          if (exchange.link === link && exchange.atRelay !== null) exchange.atRelay.evicted = true;
      },
    });
    links[place] = link;
    all.push(link);
  };
  const all: Link[] = [];

  const happen = ({ link: place, kind, directions, noticeMs }: Incident): void => {
    const link = links[place];
    if (link === undefined) return;
    say(`${kind} on ${place}`);
    if (kind === "lose") {
      link.lose(directions, ...noticeMs);
      time.after(Math.max(...noticeMs) + 10, () => dial(place));
    } else if (kind === "evict") link.evict();
    else if (kind === "token") link.renewToken();
    else if (kind === "config") link.pushConfig();
    else if (kind === "ping") (random.percent(50) ? link.relay : link.connector).ping();
    else if (kind === "report") link.connector.report({ load: 0.5, unhealthy: ["web"] });
    else {
      link.retire(kind === "relay-retires" ? "relay" : "connector");
      time.after(5, () => dial(place));
    }
  };

  dial(0);
  dial(1);
  exchanges.forEach((exchange, index) => time.after(50 + exchange.plan.startMs, () => start(exchange, index)));
  for (const incident of incidents) time.after(50 + incident.atMs, () => happen(incident));
  time.drain();
  say("everything rests; who stood still goes on");
  exchanges.forEach((exchange, index) => {
    if (exchange.plan.stalledAt === "nobody") mustBeOver(exchange, index, "beside those that stand still");
  });
  released = true;
  for (const { atRelay, atConnector } of exchanges) {
    atRelay?.reader.release();
    atConnector?.reader.release();
  }
  time.drain();
  exchanges.forEach((exchange, index) => mustBeOver(exchange, index, "at the end"));
  for (const link of all) {
    if (link.unanswered !== 0) throw new Error(`${link.unanswered} tokens or settings were never answered`);
    if (link.missingCreditBytes > 0) throw new Error(`${link.missingCreditBytes} bytes of credit never came back`);
    const open = link.relay.openStreams + link.connector.openStreams;
    if (open !== 0 || link.relayBudget.committedBytes !== 0)
      throw new Error(`left at the end: ${open} streams, ${link.relayBudget.committedBytes} bytes at a relay`);
  }
  if (connectorBudget.committedBytes !== 0)
    throw new Error(`left at the end: ${connectorBudget.committedBytes} bytes at the connector`);
}

/** Every stream has ended once on each side; completely, if nothing was in its way. */
function mustBeOver({ plan, link, atRelay, atConnector }: Exchange, index: number, when: string): void {
  if (atRelay === null || link === null) return;
  const [relayEnd] = atRelay.reader.outcomes;
  const [connectorEnd] = atConnector?.reader.outcomes ?? [];
  if (relayEnd === undefined && !atRelay.evicted) throw new Error(`request ${index} never ends at the relay, ${when}`);
  if (atConnector !== null && connectorEnd === undefined)
    throw new Error(`request ${index} never ends at the connector, ${when}`);
  if (relayEnd?.kind === "finished" && !atRelay.reader.complete)
    throw new Error(`request ${index} finished at the relay without the whole answer`);
  if (plan.resetBy !== "nobody" || link.faulty || atRelay.evicted) return;
  if (connectorEnd?.kind === "reset" && connectorEnd.reason === "refused-before-start") return;
  if (relayEnd?.kind === "reset" && relayEnd.reason === "refused-before-start" && atConnector === null) return;
  if (relayEnd?.kind !== "finished" || connectorEnd?.kind !== "finished")
    throw new Error(`request ${index} ended with ${JSON.stringify([relayEnd, connectorEnd])} for no reason`);
  const wholeRequest = !plan.stops && plan.upBytes > 0 && !(plan.upgrade && !plan.accepts);
  if (wholeRequest && atConnector?.reader.complete !== true)
    throw new Error(`request ${index} finished at the connector without its whole body`);
}
