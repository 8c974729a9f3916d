export { Directory } from "../../../src/relay/directory.ts";

export default { fetch: () => new Response(null, { status: 404 }) };
