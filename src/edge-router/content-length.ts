/** Bytes that a Content-Length announces, or null when it is absent or no plain number. */
export function declaredLength(headers: Headers): number | null {
  const value = headers.get("content-length");
  return value !== null && /^[0-9]{1,15}$/.test(value) ? Number(value) : null;
}
