import { createSign, generateKeyPairSync, type KeyObject } from "node:crypto";

/** A self-signed certificate for tests, with its key (PEM). Node can't make one, and openssl is not on every machine. Valid for a day. */
export function selfSigned(names: { dns: readonly string[]; ip?: readonly string[] }): { cert: string; key: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const der = certificate(names, publicKey, privateKey);
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${(der.toString("base64").match(/.{1,64}/g) ?? []).join("\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

/** X.509 version 3 (RFC 5280), just the parts that a TLS client looks at. */
function certificate(
  names: { dns: readonly string[]; ip?: readonly string[] },
  publicKey: KeyObject,
  privateKey: KeyObject,
): Buffer {
  const ecdsaWithSha256 = sequence(oid([42, 134, 72, 206, 61, 4, 3, 2]));
  const name = sequence(tlv(0x31, sequence(oid([85, 4, 3]), tlv(0x0c, Buffer.from(names.dns[0] ?? "test")))));
  const day = 86_400_000;
  const time = (atMs: number) => tlv(0x18, Buffer.from(new Date(atMs).toISOString().replace(/[-:T]|\.[0-9]+/g, "")));
  const alternatives = sequence(
    ...names.dns.map((dns) => tlv(0x82, Buffer.from(dns))),
    ...(names.ip ?? []).map((ip) => tlv(0x87, Buffer.from(ip.split(".").map(Number)))),
  );
  const authority = sequence(tlv(0x01, Buffer.from([0xff])));
  const extensions = sequence(
    sequence(oid([85, 29, 17]), tlv(0x04, alternatives)), // subjectAltName
    sequence(oid([85, 29, 19]), tlv(0x01, Buffer.from([0xff])), tlv(0x04, authority)), // basicConstraints: CA
  );
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.from([1])),
    ecdsaWithSha256,
    name,
    sequence(time(Date.now() - day), time(Date.now() + day)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    tlv(0xa3, extensions),
  );
  const signature = createSign("sha256").update(body).sign(privateKey);
  return sequence(body, ecdsaWithSha256, tlv(0x03, Buffer.concat([Buffer.from([0]), signature])));
}

const sequence = (...parts: Buffer[]): Buffer => tlv(0x30, Buffer.concat(parts));
const oid = (bytes: readonly number[]): Buffer => tlv(0x06, Buffer.from(bytes));

function tlv(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const header =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}
