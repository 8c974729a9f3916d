import { expect, test } from "vitest";
import { scramVerifier } from "./scram.ts";

test("a verifier as PostgreSQL makes it: the exchange of RFC 7677, section 3", async () => {
  const salt = Uint8Array.from(atob("W22ZaJ0SNY7soEsUEjb6gQ=="), (c) => c.charCodeAt(0));
  // StoredKey and ServerKey of user "user", password "pencil"; the RFC's proof and server signature follow from them.
  expect(await scramVerifier("pencil", salt)).toBe(
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
  );
});
