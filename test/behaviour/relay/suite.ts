import { afterAll, afterEach, beforeAll, describe } from "vitest";
import { bodies } from "./bodies.ts";
import { choice } from "./choice.ts";
import { control } from "./control.ts";
import { failures } from "./failures.ts";
import type { Peer, RelayHost } from "./host.ts";
import { limits } from "./limits.ts";
import { requests } from "./requests.ts";
import { sockets } from "./sockets.ts";

/** What the parts of the suite share: the host, and peers that are gone after each test. */
export interface Stage {
  readonly host: RelayHost;
  /** A connector that was granted and dialled, with the answer that it gives. */
  connector(onOpen: Peer["onOpen"], options?: Parameters<RelayHost["connect"]>[1]): Promise<Peer>;
}

/** The behaviour of a relay, whatever it runs on (docs/test-matrix.md names the ids). */
export function relayBehaviour(name: string, start: () => Promise<RelayHost>): void {
  describe(`the relay ${name}`, () => {
    let started: RelayHost | null = null;
    const peers: Peer[] = [];
    const stage: Stage = {
      get host() {
        if (started === null) throw new Error("the host is not up");
        return started;
      },
      async connector(onOpen, options) {
        const peer = await stage.host.connect(await stage.host.grant(), { onOpen, ...options });
        peers.push(peer);
        return peer;
      },
    };
    beforeAll(async () => {
      started = await start();
    });
    afterEach(async () => {
      for (const peer of peers.splice(0)) peer.cut();
      await stage.host.settings({});
    });
    afterAll(async () => {
      await started?.stop();
    });
    requests(stage);
    bodies(stage);
    sockets(stage);
    failures(stage);
    choice(stage);
    limits(stage);
    control(stage);
  });
}
