/**
 * Stands where bare workerd wants a service and the measured paths need none: KV (writes are taken, reads find nothing), queues
 * (messages are taken and dropped) and Workers that no measured request reaches.
 */
export default {
  async fetch(request: Request): Promise<Response> {
    await request.body?.cancel();
    return request.method === "GET" ? new Response(null, { status: 404 }) : new Response(null, { status: 204 });
  },
};
