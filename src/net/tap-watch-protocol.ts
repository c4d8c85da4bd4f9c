/* What tap.ts and its watcher (tap-watch.ts, a worker) say to each other. */

/** i32 words shared with tap.ts. */
export const WatchWord = { BELL: 0, ASKED: 1, COUNT: 2 } as const;
/** Values of ASKED. */
export const Asked = { NOTHING: 0, WATCH: 1, END: 2 } as const;

export interface WatchStart {
  readonly words: SharedArrayBuffer;
  readonly tapFd: number;
  /** An eventfd that is written to end the wait. */
  readonly endFd: number;
}
