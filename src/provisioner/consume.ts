import { provisioningMessage, relayEvent } from "../protocol/queue-messages.ts";
import type { Logger } from "../shared/log.ts";
import { publishAll, publicationOf } from "./directory.ts";
import type { ProvisionerPorts } from "./ports.ts";
import { applyEvent } from "./presence.ts";
import { runOperation } from "./run-operation.ts";
import { failFromOutside } from "./store.ts";

/** The part of a queue's message that we use. */
export interface Delivery {
  readonly body: unknown;
  /** Deliveries so far, this one included. */
  readonly attempts: number;
  ack(): void;
  retry(options: { delaySeconds: number }): void;
}

/** Takes in a message's body. */
export type Handler = (ports: ProvisionerPorts, body: unknown) => Promise<void>;

/** Seconds until a message that broke comes again: 1, 2, 4, ... at most a minute. */
const retryDelay = (attempts: number): number => Math.min(60, 2 ** (attempts - 1));

/**
 * Each message by itself and all at once: one that waits for its node holds up nobody, one that breaks comes again alone. An operation's own
 * errors are not messages' errors: they are in its row. What is left here is a database that is away, or a bug.
 */
export async function consume(
  log: Logger,
  deliveries: readonly Delivery[],
  handle: (body: unknown) => Promise<void>,
): Promise<void> {
  await Promise.all(
    deliveries.map(async (delivery) => {
      try {
        await handle(delivery.body);
        delivery.ack();
      } catch (error) {
        log.warn("message failed", {
          error: error instanceof Error ? error.name : "unknown",
          attempts: delivery.attempts,
        });
        delivery.retry({ delaySeconds: retryDelay(delivery.attempts) });
      }
    }),
  );
}

/** Queue causeway-provisioning. */
export const onProvisioning: Handler = async (ports, body) => {
  const message = provisioningMessage.safeParse(body);
  if (!message.success) return ports.log.error("not a provisioning message, dropped");
  await runOperation(ports, message.data.operationId);
};

/** Its dead letters: an operation whose message broke every time is given up, with the reason, and can be retried by hand. */
export const onDeadLetter: Handler = async (ports, body) => {
  const message = provisioningMessage.safeParse(body);
  if (!message.success) return ports.log.error("not a provisioning message, dropped");
  const { operationId } = message.data;
  const now = new Date(ports.clock());
  const reason = "its message could not be processed and was dead-lettered";
  const operation = await failFromOutside(ports.db, operationId, reason, now);
  if (operation === null) return;
  ports.log.error("operation dead-lettered", { operationId });
  if (operation.kind !== "tenant-create") return;
  await publishAll(ports, await ports.db.transaction((tx) => publicationOf(tx, operation, "failed", now.getTime())));
};

/** Queue causeway-events. */
export const onEvent: Handler = async (ports, body) => {
  const event = relayEvent.safeParse(body);
  if (!event.success) return ports.log.error("not an event of the relay, dropped");
  await applyEvent(ports.db, event.data);
};
