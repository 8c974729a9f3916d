// The null object: the least that a request to a Durable Object costs on this runtime. A relay on workerd is measured as a share of it,
// so this file never changes: a changed yardstick makes all earlier results worthless. A test pins its content.
import { DurableObject } from "cloudflare:workers";

const BODY = new Uint8Array(128).fill(0x78);

export class NullObject extends DurableObject {
  fetch() {
    return new Response(BODY, { headers: { "content-type": "text/plain" } });
  }
}

export default {
  fetch(request, env) {
    return env.NULL_OBJECT.getByName("null").fetch(request);
  },
};
