/* FramePool: 4-KiB frames of one shared 64-bit memory. A frame number times 4096 is its byte offset in that memory. Frame 0 is never handed out, so
 * that 0 can mean "nothing yet". Frames come zeroed. Any thread may allocate and free: the counters are in shared memory.
 *
 *   control words (i32): 0 next never-used frame · 1 free-list length · 2 free-list lock · 3 frames in use
 */

export const FRAME_BYTES = 4096;
/** A memory of more 64-KiB pages takes 64-bit addresses. Others are behind guard pages, so that generated code need not compare addresses with a bound. */
export const MOST_NARROW_PAGES = 65535;
const NEXT = 0;
const FREE_LENGTH = 1;
const LOCK = 2;
const IN_USE = 3;

/** What another thread needs to attach to a pool. */
export interface SharedFrames {
  memory: WebAssembly.Memory;
  control: SharedArrayBuffer;
  freeList: SharedArrayBuffer;
  frames: number;
}

/** The pool has no frame left: its size was promised to more guests than it can hold. */
export class OutOfFrames extends Error {
  constructor(frames: number) {
    super(`the memory pool is full: all ${frames} frames are in use; give it more memory or run fewer VMs`);
  }
}

export class FramePool {
  readonly shared: SharedFrames;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  #control: Int32Array;
  #freeList: Int32Array;

  private constructor(shared: SharedFrames) {
    this.shared = shared;
    this.bytes = new Uint8Array(shared.memory.buffer);
    this.view = new DataView(shared.memory.buffer);
    this.#control = new Int32Array(shared.control);
    this.#freeList = new Int32Array(shared.freeList);
  }

  /** A new pool. @param sizeBytes rounded up to 64 KiB; address space only until frames are touched */
  static create(sizeBytes: number): FramePool {
    const pages = Math.ceil(sizeBytes / 65536) + 1;
    const memory = new WebAssembly.Memory(
      pages > MOST_NARROW_PAGES
        ? { initial: BigInt(pages), maximum: BigInt(pages), shared: true, address: "i64" }
        : { initial: pages, maximum: pages, shared: true },
    );
    const frames = pages * 16;
    const control = new SharedArrayBuffer(16);
    new Int32Array(control)[NEXT] = 1;
    return new FramePool({ memory, control, freeList: new SharedArrayBuffer(frames * 4), frames });
  }

  static attach(shared: SharedFrames): FramePool {
    return new FramePool(shared);
  }

  /** Size of the memory in 64-KiB pages, for module imports. */
  get pages(): number {
    return this.shared.frames / 16;
  }
  get inUse(): number {
    return Atomics.load(this.#control, IN_USE);
  }

  #locked<T>(work: () => T): T {
    while (Atomics.compareExchange(this.#control, LOCK, 0, 1) !== 0);
    try {
      return work();
    } finally {
      Atomics.store(this.#control, LOCK, 0);
    }
  }

  /** @returns a zeroed frame's number @throws OutOfFrames */
  allocate(): number {
    Atomics.add(this.#control, IN_USE, 1);
    if (Atomics.load(this.#control, FREE_LENGTH) > 0) {
      const frame = this.#locked(() => {
        const length = this.#control[FREE_LENGTH];
        if (length === 0) return 0;
        this.#control[FREE_LENGTH] = length - 1;
        return this.#freeList[length - 1];
      });
      if (frame !== 0) {
        this.bytes.fill(0, frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES);
        return frame;
      }
    }
    const frame = Atomics.add(this.#control, NEXT, 1);
    if (frame < this.shared.frames) return frame;
    Atomics.sub(this.#control, NEXT, 1);
    Atomics.sub(this.#control, IN_USE, 1);
    throw new OutOfFrames(this.shared.frames);
  }

  free(frame: number): void {
    Atomics.sub(this.#control, IN_USE, 1);
    this.#locked(() => {
      const length = this.#control[FREE_LENGTH];
      this.#freeList[length] = frame;
      this.#control[FREE_LENGTH] = length + 1;
    });
  }
}
