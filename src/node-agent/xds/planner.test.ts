import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createPlanner, type PlannerEffect, type Resource, type TenantUnit } from "./planner.ts";

// A resource's bytes are JSON here: what a scope points to, and whether Envoy will refuse it.
interface Content {
  readonly poison: boolean;
  readonly uses: readonly string[];
}
const resource = (name: string, content: Content): Resource => {
  const text = JSON.stringify(content);
  return { name, version: `${text.length}:${text}`, bytes: Buffer.from(text) };
};
const contentOf = ({ bytes }: Resource): Content => JSON.parse(Buffer.from(bytes).toString());

interface Spec {
  readonly tenantId: string;
  readonly revision: number;
  readonly hosts?: readonly string[];
  readonly port?: number;
  readonly poison?: "none" | "cluster" | "scope";
  /** Beside its own, the cluster of a node that it has in common with others, as on a master. */
  readonly shared?: boolean;
}
function unit({ tenantId, revision, hosts = [tenantId], port = 1, poison = "none", shared = false }: Spec): TenantUnit {
  const own = [1, 2].map((index) =>
    resource(`t/${tenantId}/s${index}@${port}`, { poison: poison === "cluster" && index === 2, uses: [] }),
  );
  const clusters = shared ? [...own, resource(`node/${port}`, { poison: false, uses: [] })] : own;
  const uses = clusters.map(({ name }) => name);
  // The revision is part of a scope's content, as in what is rendered (the probe's answer).
  const scopes = hosts.map((host) =>
    resource(`t/${host}`, { poison: poison === "scope", uses: [...uses, `revision ${tenantId}/${revision}`] }),
  );
  return { tenantId, revision, hash: `${tenantId}/${revision}/${port}/${poison}/${hosts.join()}`, clusters, scopes };
}

type Send = Extract<PlannerEffect, { kind: "send" }>;

/** Envoy 1.40 as it was seen to behave: part of a rejected cluster response is taken, nothing of a rejected scope response. */
class FakeEnvoy {
  readonly clusters = new Map<string, Resource>();
  readonly scopes = new Map<string, Resource>();
  subscribed = 0;

  take(send: Send): string | null {
    return send.type === "cluster" ? this.#takeClusters(send) : this.#takeScopes(send);
  }

  #takeClusters({ resources, removed }: Send): string | null {
    let error: string | null = null;
    const names = new Set(resources.map(({ name }) => name));
    if (names.size < resources.length) throw new Error("a name is there twice");
    for (const one of resources) {
      if (contentOf(one).poison) error = `malformed ${one.name}`;
      else this.clusters.set(one.name, one);
    }
    for (const name of removed) {
      for (const scope of this.scopes.values()) {
        if (contentOf(scope).uses.includes(name))
          throw new Error(`cluster ${name} was removed while ${scope.name} used it`);
      }
      this.clusters.delete(name);
    }
    return error;
  }

  #takeScopes({ resources, removed }: Send): string | null {
    for (const one of resources) {
      for (const name of contentOf(one).uses) {
        if (!name.startsWith("revision") && !this.clusters.has(name)) throw new Error(`unknown cluster ${name}`);
      }
    }
    const bad = resources.find((one) => contentOf(one).poison);
    if (bad !== undefined) return `bad ${bad.name}`;
    for (const one of resources) this.scopes.set(one.name, one);
    for (const name of removed) this.scopes.delete(name);
    return null;
  }
}

/** A planner with an Envoy that answers when it is told to. */
function bench(limits = { bulkThreshold: 4, bulkTenants: 3 }) {
  const planner = createPlanner(limits);
  const outcomes: string[] = [];
  const sends: Send[] = [];
  let envoy = new FakeEnvoy();
  let pending: Send[] = [];
  const run = (effects: readonly PlannerEffect[]): void => {
    for (const effect of effects) {
      if (effect.kind === "send") {
        sends.push(effect);
        pending.push(effect);
      } else if (effect.kind === "gone") outcomes.push(`gone ${effect.tenantId}`);
      else if (effect.kind === "accepted") outcomes.push(`accepted ${effect.unit.tenantId} ${effect.unit.revision}`);
      else outcomes.push(`rejected ${effect.unit.tenantId} ${effect.unit.revision}: ${effect.reason}`);
    }
  };
  const versions = (map: Map<string, Resource>): Map<string, string> =>
    new Map([...map].map(([name, { version }]) => [name, version]));
  const self = {
    planner,
    outcomes,
    sends,
    run,
    envoy: () => envoy,
    /** A new stream; a fresh Envoy has nothing. It asks for scopes once it has its first answer about clusters. */
    connect: (fresh: boolean): void => {
      if (fresh) envoy = new FakeEnvoy();
      pending = [];
      planner.closed();
      envoy.subscribed = 1;
      run(planner.subscribed("cluster", versions(envoy.clusters)));
      if (!fresh) self.askForScopes();
    },
    askForScopes: (): void => {
      if (envoy.subscribed !== 1) return;
      envoy.subscribed = 2;
      run(planner.subscribed("scope", versions(envoy.scopes)));
    },
    /** Lets Envoy answer one response. */
    answer: (): boolean => {
      const send = pending.shift();
      if (send === undefined) {
        if (envoy.subscribed !== 1) return false;
        self.askForScopes();
        return true;
      }
      run(planner.answered(send.nonce, envoy.take(send)));
      return true;
    },
    settle: (): void => {
      for (let turn = 0; turn < 10_000; turn++) if (!self.answer()) return;
      throw new Error("it never settles");
    },
  };
  return self;
}

const names = (map: Map<string, Resource>): string[] => [...map.keys()].toSorted();

describe("a planner", () => {
  test("sends clusters, waits, sends the scope, and only then says accepted (E03)", () => {
    const { planner, run, connect, settle, answer, sends, outcomes } = bench();
    connect(true);
    settle();
    sends.length = 0;
    run(planner.put(unit({ tenantId: "a", revision: 1 })));
    expect(sends.map(({ type, resources }) => [type, resources.length])).toEqual([["cluster", 2]]);
    answer();
    expect(sends.map(({ type, resources }) => [type, resources.length])).toEqual([
      ["cluster", 2],
      ["scope", 1],
    ]);
    expect(outcomes).toEqual([]);
    answer();
    expect(outcomes).toEqual(["accepted a 1"]);
  });

  test("answers a fresh Envoy that has to hold nothing, so that it opens its listeners", () => {
    const { connect, settle, sends, planner } = bench();
    connect(true);
    settle();
    expect(sends.map(({ type, resources, removed }) => [type, resources.length, removed.length])).toEqual([
      ["cluster", 0, 0],
      ["scope", 0, 0],
    ]);
    expect(planner.serving()).toBe(true);
  });

  test("replaces endpoints make-before-break, and takes the old clusters away last", () => {
    const { planner, run, connect, settle, sends, envoy } = bench();
    connect(true);
    run(planner.put(unit({ tenantId: "a", revision: 1, port: 1 })));
    settle();
    sends.length = 0;
    run(planner.put(unit({ tenantId: "a", revision: 2, port: 2 })));
    settle();
    expect(sends.map(({ type, resources, removed }) => [type, resources.length, removed.length])).toEqual([
      ["cluster", 2, 0],
      ["scope", 1, 0],
      ["cluster", 0, 2],
    ]);
    expect(names(envoy().clusters)).toEqual(["t/a/s1@2", "t/a/s2@2"]);
  });

  test("a change costs one tenant's resources, whatever the number of tenants (E01)", () => {
    const { planner, run, connect, settle, sends } = bench({ bulkThreshold: 16, bulkTenants: 500 });
    connect(true);
    for (let index = 0; index < 2_000; index++) run(planner.put(unit({ tenantId: `t${index}`, revision: 1 })));
    settle();
    sends.length = 0;
    run(planner.put(unit({ tenantId: "t77", revision: 2, port: 2 })));
    settle();
    expect(sends.flatMap(({ resources, removed }) => [...resources.map(({ name }) => name), ...removed])).toEqual([
      "t/t77/s1@2",
      "t/t77/s2@2",
      "t/t77",
      "t/t77/s1@1",
      "t/t77/s2@1",
    ]);
  });

  test.each(["cluster", "scope"] as const)(
    "a rejected %s is reported with Envoy's words, never sent again, and holds up nobody (E04)",
    (poison) => {
      const { planner, run, connect, settle, sends, outcomes, envoy } = bench();
      connect(true);
      run(planner.put(unit({ tenantId: "a", revision: 1 })));
      run(planner.put(unit({ tenantId: "b", revision: 1 })));
      settle();
      const bad = unit({ tenantId: "a", revision: 2, port: 2, poison });
      run(planner.put(bad));
      run(planner.put(unit({ tenantId: "b", revision: 2, port: 2 })));
      settle();
      expect(outcomes.slice(2).toSorted()).toEqual([
        "accepted b 2",
        `rejected a 2: ${poison === "cluster" ? "malformed t/a/s2@2" : "bad t/a"}`,
      ]);
      expect(contentOf(envoy().scopes.get("t/a") ?? resource("", { poison: true, uses: [] })).uses).toContain(
        "revision a/1",
      );
      // What Envoy took of the refused revision is cleaned up again.
      expect(names(envoy().clusters)).toEqual(["t/a/s1@1", "t/a/s2@1", "t/b/s1@2", "t/b/s2@2"]);
      sends.length = 0;
      connect(false);
      settle();
      run(planner.put(bad));
      settle();
      expect(sends.flatMap(({ resources }) => resources)).toEqual([]);
    },
  );

  test("finds the poison in a bulk response by halving, and the rest is served", () => {
    const { planner, run, connect, settle, outcomes, envoy } = bench({ bulkThreshold: 4, bulkTenants: 100 });
    for (let index = 0; index < 50; index++) {
      run(
        planner.put(
          unit({
            tenantId: `t${index}`,
            revision: 1,
            poison: index === 17 ? "cluster" : index === 33 ? "scope" : "none",
          }),
        ),
      );
    }
    connect(true);
    settle();
    expect(outcomes.filter((outcome) => outcome.startsWith("rejected"))).toEqual([
      "rejected t17 1: malformed t/t17/s2@1",
      "rejected t33 1: bad t/t33",
    ]);
    expect(envoy().scopes.size).toBe(48);
    expect(envoy().clusters.size).toBe(96);
  });

  test("after a restart of the agent sends nothing that Envoy has, and takes away what nobody knows (E05)", () => {
    const old = bench();
    old.connect(true);
    for (const tenantId of ["a", "b", "c"]) old.run(old.planner.put(unit({ tenantId, revision: 1 })));
    old.settle();
    const next = bench();
    next.envoy().clusters.clear();
    for (const [name, value] of old.envoy().clusters) next.envoy().clusters.set(name, value);
    for (const [name, value] of old.envoy().scopes) next.envoy().scopes.set(name, value);
    for (const tenantId of ["a", "b"]) {
      const good = unit({ tenantId, revision: 1 });
      next.run(next.planner.put(good, { good }));
    }
    next.connect(false);
    next.settle();
    expect(next.sends.map(({ type, resources, removed }) => [type, resources.length, removed])).toEqual([
      ["scope", 0, ["t/c"]],
      ["cluster", 0, ["t/c/s1@1", "t/c/s2@1"]],
    ]);
    expect(next.outcomes).toEqual([]);
  });

  test("gives a new Envoy everything again, and a host that moves between tenants never has two owners", () => {
    const { planner, run, connect, settle, envoy, outcomes } = bench();
    connect(true);
    run(planner.put(unit({ tenantId: "a", revision: 1, hosts: ["x", "y"] })));
    run(planner.put(unit({ tenantId: "b", revision: 1, hosts: ["z"] })));
    settle();
    connect(true);
    settle();
    expect(names(envoy().scopes)).toEqual(["t/x", "t/y", "t/z"]);
    run(planner.put(unit({ tenantId: "a", revision: 2, hosts: ["x"] })));
    run(planner.put(unit({ tenantId: "b", revision: 2, hosts: ["y", "z"] })));
    settle();
    expect(contentOf(envoy().scopes.get("t/y") ?? resource("", { poison: true, uses: [] })).uses).toContain(
      "revision b/2",
    );
    run(planner.remove("a"));
    settle();
    expect(outcomes).toEqual(["accepted a 1", "accepted b 1", "accepted a 2", "accepted b 2", "gone a"]);
    expect(names(envoy().clusters)).toEqual(["t/b/s1@1", "t/b/s2@1"]);
  });

  test("ignores answers to anything but the response under way", () => {
    const { planner, run, connect, settle } = bench();
    connect(true);
    settle();
    run(planner.put(unit({ tenantId: "a", revision: 1 })));
    expect(planner.answered("999", null)).toEqual([]);
    expect(planner.answered("999", "error")).toEqual([]);
    settle();
  });
});

test("whatever happens, no scope ever lacks a cluster, and in the end each tenant has its newest good revision", () => {
  const tenantIds = ["a", "b", "c", "d", "e", "f"] as const;
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("put" as const),
        who: fc.nat(5),
        port: fc.integer({ min: 1, max: 3 }),
        poison: fc.constantFrom("none" as const, "none" as const, "cluster" as const, "scope" as const),
        extraHost: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), who: fc.nat(5) }) },
    {
      weight: 8,
      arbitrary: fc.record({ kind: fc.constant("answer" as const), times: fc.integer({ min: 1, max: 6 }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("reconnect" as const, "new-envoy" as const) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
      const { planner, run, connect, answer, settle, envoy, outcomes } = bench();
      const wanted = new Map<string, TenantUnit | null>();
      const accepted = new Map<string, TenantUnit>();
      const offered = new Map<string, TenantUnit>();
      let revision = 0;
      let seen = 0;
      /** The last revision that the planner called accepted is what must stay served when a later one is refused. */
      const follow = (): void => {
        for (; seen < outcomes.length; seen++) {
          const [what, tenantId = "", number] = (outcomes[seen] ?? "").split(/[ :]/);
          const found = offered.get(`${tenantId} ${number}`);
          if (what === "accepted" && found !== undefined) accepted.set(tenantId, found);
        }
      };
      connect(true);
      for (const one of steps) {
        if (one.kind === "put") {
          const tenantId = tenantIds[one.who] ?? "a";
          const made = unit({
            tenantId,
            revision: ++revision,
            port: one.port,
            poison: one.poison,
            shared: true,
            hosts: one.extraHost ? [tenantId, `${tenantId}2`] : [tenantId],
          });
          wanted.set(tenantId, made);
          offered.set(`${tenantId} ${made.revision}`, made);
          run(planner.put(made));
        } else if (one.kind === "remove") {
          const tenantId = tenantIds[one.who] ?? "a";
          wanted.set(tenantId, null);
          accepted.delete(tenantId);
          run(planner.remove(tenantId));
        } else if (one.kind === "answer") for (let turn = 0; turn < one.times; turn++) answer();
        else connect(one.kind === "new-envoy");
        follow();
      }
      settle();
      follow();
      const expected = new Map<string, string>();
      for (const [tenantId, want] of wanted) {
        if (want === null) continue;
        const poisoned = [...want.clusters, ...want.scopes].some((found) => contentOf(found).poison);
        for (const found of (poisoned ? accepted.get(tenantId) : want)?.scopes ?? [])
          expected.set(found.name, found.version);
      }
      const got = new Map([...envoy().scopes].map(([name, { version }]) => [name, version]));
      expect(Object.fromEntries(got)).toEqual(Object.fromEntries(expected));
      const used = new Set(
        [...envoy().scopes.values()].flatMap((scope) =>
          contentOf(scope).uses.filter((use) => !use.startsWith("revision")),
        ),
      );
      expect(names(envoy().clusters)).toEqual([...used].toSorted());
    }),
    { numRuns: 1_000 },
  );
});
