/**
 * Stands where bare workerd wants a service and the measured paths need none: KV (writes are taken, reads find nothing), queues
 * (messages are taken and dropped) and Workers that no measured request reaches.
 */
export default {
  async fetch(request: Request): Promise<Response> {
    if (request.url === QUEUE_URL) {
      // Read, not cancelled: a message that nobody takes would be sent again and again, and keep the object awake that sends it.
      await request.arrayBuffer();
      return Response.json(TAKEN);
    }
    await request.body?.cancel();
    return request.method === "GET" ? new Response(null, { status: 404 }) : new Response(null, { status: 204 });
  },
};

/** How workerd's queue binding asks, and what it wants to hear. */
const QUEUE_URL = "https://fake-host/message";
const TAKEN = { metadata: { metrics: { backlogCount: 0, backlogBytes: 0, oldestMessageTimestamp: 0 } } };
