import type { Mail } from "./mail.ts";

/** A mail as RFC 5322 and MIME want it: lines of at most 76 characters in ASCII, every line ended by CR LF. `from`: an address, with or without a name. */
export function mimeMessage(
  mail: Mail,
  { from, messageId, nowMs }: { readonly from: string; readonly messageId: string; readonly nowMs: number },
): string {
  const headers = [
    `From: ${oneLine(from)}`,
    `To: ${oneLine(mail.to)}`,
    `Subject: ${encodedWords(mail.subject)}`,
    `Date: ${new Date(nowMs).toUTCString().replace("GMT", "+0000")}`,
    `Message-ID: <${oneLine(messageId)}>`,
    "Auto-Submitted: auto-generated",
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: base64",
  ];
  // Base64: links are longer than a line may be, and nothing of the text can be taken for anything else.
  const body = bytesToBase64(new TextEncoder().encode(mail.text.replaceAll(/\r?\n/g, "\r\n")));
  const lines = body.match(/.{1,76}/g) ?? [];
  return `${[...headers, "", ...lines].join("\r\n")}\r\n`;
}

/** A value can't begin another header. */
const oneLine = (text: string): string => text.replaceAll(/[\r\n\0]/g, " ");

/** RFC 2047, in words of at most 75 characters; plain where it is ASCII and short. */
function encodedWords(text: string): string {
  const line = oneLine(text);
  if (/^[\x20-\x7e]{0,900}$/.test(line)) return line;
  const words: string[] = [];
  let word = "";
  for (const character of line) {
    if (new TextEncoder().encode(word + character).length > 42) {
      words.push(word);
      word = "";
    }
    word += character;
  }
  words.push(word);
  return words.map((each) => `=?utf-8?B?${bytesToBase64(new TextEncoder().encode(each))}?=`).join("\r\n ");
}

function bytesToBase64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
