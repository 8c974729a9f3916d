import type { Answer } from "./host.ts";
import { joined } from "./peer.ts";

export async function bodyOf(answer: Answer): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let part = await answer.read(); part !== null; part = await answer.read()) parts.push(part);
  return joined(parts);
}

export const textOf = async (answer: Answer): Promise<string> => new TextDecoder().decode(await bodyOf(answer));

/** Status and our code: what an error of the relay is known by. */
export const errorOf = async (answer: Answer): Promise<[number, string | null]> => {
  const found: [number, string | null] = [answer.status, answer.header("causeway-error")];
  await bodyOf(answer);
  return found;
};

/** Takes the body too: a request is under way until its visitor has taken all of it. */
export const statusOf = async (answer: Answer): Promise<number> => (await errorOf(answer))[0];
