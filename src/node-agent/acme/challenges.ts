/** How the node shows an ACME server that a name is its own (RFC 8555, section 8). */
export interface Challenges {
  readonly type: "http-01" | "dns-01";
  /** What the server will look for is there when this resolves. `token`: of HTTP-01's address; `value`: the file's or the record's content. */
  show(name: string, token: string, value: string): Promise<void>;
  remove(name: string, token: string, value: string): Promise<void>;
  close(): Promise<void>;
}
