/** Lets one waiter sleep until something may have changed. */
export interface Signal {
  wait(): Promise<void>;
  raise(): void;
}

export function createSignal(): Signal {
  let wake: (() => void) | null = null;
  let raised = false;
  return {
    wait: () =>
      new Promise((resolve) => {
        if (raised) resolve();
        else wake = resolve;
        raised = false;
      }),
    raise() {
      if (wake === null) raised = true;
      else wake();
      wake = null;
    },
  };
}
