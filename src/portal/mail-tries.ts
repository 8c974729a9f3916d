import type { Db } from "../db/client.ts";
import type { Clock } from "../shared/clock.ts";
import { LIMITS } from "./limits.ts";
import { createTries } from "./tries.ts";

/** Counts forms that cause a mail: by the address typed and by the visitor's network address. */
export interface MailTries {
  /** Null: go on; otherwise seconds until the next may be made. `clientAddress`: null where it is not known. */
  begin(email: string, clientAddress: string | null): Promise<number | null>;
}

export function createMailTries(db: Db, now: Clock): MailTries {
  const byEmail = createTries(db, now, "mail:", LIMITS.mailTries);
  const byAddress = createTries(db, now, "address:", LIMITS.addressTries);
  return {
    async begin(email, clientAddress) {
      const waitSeconds = clientAddress === null ? null : await byAddress.begin(clientAddress);
      return waitSeconds ?? (await byEmail.begin(email));
    },
  };
}
