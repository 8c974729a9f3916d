import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { signWebhook } from "./webhook-signature.ts";

test("a webhook is signed as the specification's own example is", async () => {
  // Standard Webhooks, the example of its reference libraries.
  const signed = new Map(
    await signWebhook(
      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
      "msg_p5jXN8AQM9LWM0D4loKWxJek",
      1_614_265_330_999,
      '{"test": 2432232314}',
    ),
  );
  expect(signed.get("webhook-id")).toBe("msg_p5jXN8AQM9LWM0D4loKWxJek");
  expect(signed.get("webhook-timestamp")).toBe("1614265330");
  expect(signed.get("webhook-signature")).toBe("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
});

test("and verifies with another implementation of HMAC", async () => {
  const secret = Buffer.alloc(32, 7);
  const signed = new Map(await signWebhook(`whsec_${secret.toString("base64")}`, "run_1.1", 5_000, "{}"));
  const mac = createHmac("sha256", secret).update("run_1.1.5.{}").digest("base64");
  expect(signed.get("webhook-signature")).toBe(`v1,${mac}`);
});
