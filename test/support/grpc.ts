import type { MethodDefinition } from "@grpc/grpc-js";

/** The gRPC service of the tests (fixtures/grpc-service.ts). Messages are bytes as they are: what is tested is the way, not protobuf. */
const method = (path: string, requestStream: boolean, responseStream: boolean): MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: (message) => message,
  requestDeserialize: (bytes) => bytes,
  responseSerialize: (message) => message,
  responseDeserialize: (bytes) => bytes,
});

export const METHODS = {
  /** Says the same again; fields that begin with `echo-` come back as fields of the answer and of its trailers. */
  say: method("/demo.Echo/Say", false, false),
  /** Ends with ABORTED, `details` of the request and a trailer. */
  fail: method("/demo.Echo/Fail", false, false),
  /** As many messages as the request says, one every 50 ms. */
  count: method("/demo.Echo/Count", false, true),
  /** Says all again until the caller ends. */
  chat: method("/demo.Echo/Chat", true, true),
  /** How many calls were cancelled. */
  cancelled: method("/demo.Echo/Cancelled", false, false),
  health: method("/grpc.health.v1.Health/Check", false, false),
} as const;
