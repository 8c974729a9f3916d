/**
 * What a service speaks. `http`: HTTP/1.1. `h2c`: HTTP/2 without TLS, by prior knowledge, as gRPC does. `mqtt`: a broker, reached by MQTT over
 * TLS under the tenant's hosts instead of by routes; one a tenant.
 */
export const SERVICE_PROTOCOLS = ["http", "h2c", "mqtt"] as const;
export type ServiceProtocol = (typeof SERVICE_PROTOCOLS)[number];
