/**
 * Sets up the measured world from outside: calls methods of data-plane objects, which the control plane would call by RPC.
 * Only in the benchmark's workerd and on a port of its own; no part of the product.
 *
 * POST `[{ namespace, name, method, args }]` → the calls' values in order, as JSON; 500 with the message of the first that rejected.
 */
type Call = {
  readonly namespace: string;
  readonly name: string;
  readonly method: string;
  readonly args: readonly unknown[];
};
type Stub = Record<string, (...args: readonly unknown[]) => Promise<unknown>>;
type Env = Record<string, { getByName(name: string): Stub } | undefined>;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const calls: readonly Call[] = await request.json();
    const values: unknown[] = [];
    for (const call of calls) {
      const method = env[call.namespace]?.getByName(call.name)[call.method];
      if (method === undefined) return new Response(`no object ${call.namespace}`, { status: 400 });
      try {
        values.push(await method(...call.args));
      } catch (error) {
        return new Response(`${call.namespace}.${call.method}: ${String(error)}`, { status: 500 });
      }
    }
    return Response.json(values);
  },
};
