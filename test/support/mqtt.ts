import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { until } from "./until.ts";

const text = (value: string): Buffer => Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)]);
const packet = (type: number, ...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([type, body.length]), body]); // below 128 bytes: one byte of length
};

/** A real broker. Without a configuration file mosquitto takes anybody on loopback. */
export const BROKER = { argv: ["/bin/sh", "-c", 'PATH="$PATH:/usr/sbin"; exec mosquitto -p "$PORT"'] };

/** The tenant with a broker of the command `broker` beside its services. */
export function withBroker(tenant: NodeTenant): NodeTenant {
  const broker: NodeTenant["services"][number] = {
    name: "broker",
    workspace: "main",
    driver: { kind: "process", command: "broker" },
    protocol: "mqtt",
    healthPath: null,
    secrets: {},
  };
  return { ...tenant, services: [...tenant.services, broker] };
}

export interface Device {
  readonly socket: TLSSocket;
  /** All that the broker said, in hex. */
  readonly heard: () => string;
  publish(topic: string, message: string): void;
  ping(): void;
}

/** MQTT 3.1.1 as far as a device needs it: CONNECT, SUBSCRIBE to everything, PUBLISH, PINGREQ. */
export async function device(port: number, serverName: string): Promise<Device> {
  const socket = connect({ port, host: "127.0.0.1", servername: serverName, rejectUnauthorized: false });
  let heard = "";
  socket.on("data", (bytes: Buffer) => (heard += bytes.toString("hex")));
  await once(socket, "secureConnect");
  socket.on("error", () => undefined);
  socket.write(packet(0x10, text("MQTT"), Buffer.from([4, 2, 0, 60]), text("")));
  await until("the broker's CONNACK", () => heard.startsWith("20020000"));
  socket.write(packet(0x82, Buffer.from([0, 1]), text("#"), Buffer.from([0])));
  await until("its SUBACK", () => heard.includes("9003000100"));
  return {
    socket,
    heard: () => heard,
    publish: (topic, message) => void socket.write(packet(0x30, text(topic), Buffer.from(message))),
    ping: () => void socket.write(Buffer.from([0xc0, 0])),
  };
}
export const hex = (value: string): string => Buffer.from(value).toString("hex");
