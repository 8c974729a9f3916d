import { LOG_FLUSH_CHARS, LOG_FLUSH_MS } from "./limits.ts";

/** Lines of many requests in one write: a system call each would cost more than the request's own. */
export interface LogLines {
  write(line: string): void;
  flush(): void;
}

export function createLogLines(sink: (text: string) => void): LogLines {
  let waiting = "";
  let timer: NodeJS.Timeout | null = null;
  const flush = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (waiting === "") return;
    const text = waiting;
    waiting = "";
    sink(text);
  };
  return {
    write(line) {
      waiting += `${line}\n`;
      if (waiting.length >= LOG_FLUSH_CHARS) flush();
      else timer ??= setTimeout(flush, LOG_FLUSH_MS).unref();
    },
    flush,
  };
}
