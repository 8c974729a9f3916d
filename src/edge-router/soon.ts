/**
 * What is at hand already for nearly every request, or a promise of it. An await of something that is there costs the runtime three calls out of
 * its engine all the same; so on the way of every request it stands behind `instanceof Promise`.
 */
export type Soon<T> = T | Promise<T>;
