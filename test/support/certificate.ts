import { createSign, generateKeyPairSync, type KeyObject } from "node:crypto";

/** A self-signed certificate for tests, with its key (PEM). Node can't make one, and openssl is not on every machine. Valid for a day. */
export function selfSigned(names: { dns: readonly string[]; ip?: readonly string[] }): { cert: string; key: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const life = { beginsAtMs: Date.now() - DAY_MS, endsAtMs: Date.now() + DAY_MS };
  const der = certificate(names, { spki, issuer: names.dns[0] ?? "test", isAuthority: true, ...life }, privateKey);
  return { cert: toPem(der), key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

/** Signs what others ask for. `csr`: PKCS #10 (DER); of it only the key is taken. Answers PEM. */
export function newAuthority(): { issue(csr: Buffer, dns: readonly string[], lifetimeSeconds: number): string } {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    issue(csr, dns, lifetimeSeconds) {
      // CertificationRequest { CertificationRequestInfo { version, subject, subjectPublicKeyInfo, ... }, ... }
      const [info = csr] = parts(csr.subarray(headerBytes(csr)));
      const [, , spki = csr] = parts(info.subarray(headerBytes(info)));
      const beginsAtMs = Math.floor(Date.now() / 1000) * 1000;
      const life = { beginsAtMs, endsAtMs: beginsAtMs + lifetimeSeconds * 1000 };
      return toPem(certificate({ dns }, { spki, issuer: "authority", isAuthority: false, ...life }, privateKey));
    },
  };
}

const DAY_MS = 86_400_000;
const toPem = (der: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${(der.toString("base64").match(/.{1,64}/g) ?? []).join("\n")}\n-----END CERTIFICATE-----\n`;

/** X.509 version 3 (RFC 5280), just the parts that a TLS client looks at. */
function certificate(
  names: { dns: readonly string[]; ip?: readonly string[] },
  of: {
    readonly spki: Buffer;
    readonly issuer: string;
    readonly beginsAtMs: number;
    readonly endsAtMs: number;
    readonly isAuthority: boolean;
  },
  privateKey: KeyObject,
): Buffer {
  const ecdsaWithSha256 = sequence(oid([42, 134, 72, 206, 61, 4, 3, 2]));
  const name = (text: string) => sequence(tlv(0x31, sequence(oid([85, 4, 3]), tlv(0x0c, Buffer.from(text)))));
  const time = (atMs: number) => tlv(0x18, Buffer.from(new Date(atMs).toISOString().replace(/[-:T]|\.[0-9]+/g, "")));
  const alternatives = sequence(
    ...names.dns.map((dns) => tlv(0x82, Buffer.from(dns))),
    ...(names.ip ?? []).map((ip) => tlv(0x87, Buffer.from(ip.split(".").map(Number)))),
  );
  const authority = of.isAuthority ? sequence(tlv(0x01, Buffer.from([0xff]))) : sequence();
  const extensions = sequence(
    sequence(oid([85, 29, 17]), tlv(0x04, alternatives)), // subjectAltName
    sequence(oid([85, 29, 19]), tlv(0x01, Buffer.from([0xff])), tlv(0x04, authority)), // basicConstraints: CA
  );
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.from([1])),
    ecdsaWithSha256,
    name(of.issuer),
    sequence(time(of.beginsAtMs), time(of.endsAtMs)),
    name(names.dns[0] ?? "test"),
    of.spki,
    tlv(0xa3, extensions),
  );
  const signature = createSign("sha256").update(body).sign(privateKey);
  return sequence(body, ecdsaWithSha256, tlv(0x03, Buffer.concat([Buffer.from([0]), signature])));
}

/** Bytes of tag and length, and of the whole, of what stands at the beginning. */
const headerBytes = (der: Buffer): number => 2 + ((der[1] ?? 0) < 0x80 ? 0 : (der[1] ?? 0) & 0x7f);
const contentBytes = (der: Buffer): number => {
  const more = headerBytes(der) - 2;
  return more === 0 ? (der[1] ?? 0) : der.readUIntBE(2, more);
};
function parts(der: Buffer): Buffer[] {
  if (der.length === 0) return [];
  const length = headerBytes(der) + contentBytes(der);
  return [der.subarray(0, length), ...parts(der.subarray(length))];
}

const sequence = (...parts: Buffer[]): Buffer => tlv(0x30, Buffer.concat(parts));
const oid = (bytes: readonly number[]): Buffer => tlv(0x06, Buffer.from(bytes));

function tlv(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const header =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}
