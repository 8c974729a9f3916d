import { setPriority } from "node:os";

/**
 * This process, and what it starts from now on, go first where the machine is busy: a promise of seconds is the product's, and other suites run
 * beside this one. Only root may; elsewhere it changes nothing.
 */
export function goFirst(): void {
  try {
    setPriority(-15);
  } catch {
    // not root
  }
}
