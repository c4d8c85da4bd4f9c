/* The pages that delivery reads at each event (IDT, GDT, TSS), beside the TLB: there they compete with what runs, and Linux has its IDT where much else is.
 * Whatever drops translations drops these. On the thread that runs the vCPU. @source SDM vol. 3A §4.10.4 */
const PLACES = 4;
const PAGE = 4096;

const placeOf = (low: number): number => (low >>> 12) % PLACES;

export class SystemPages {
  /** Linear page, low and high half of its address; low half 1: none. */
  readonly #pages = new Int32Array(2 * PLACES).fill(1);
  readonly #frames = new Float64Array(PLACES);

  /** @returns where a byte is in the frames memory for reads as a supervisor; −1 not known */
  find(low: number, high: number): number {
    const place = placeOf(low);
    if (this.#pages[2 * place] !== (low & -PAGE) || this.#pages[2 * place + 1] !== high) return -1;
    return this.#frames[place]! + (low & (PAGE - 1));
  }
  /** @param frame address of the page's frame */
  note(low: number, high: number, frame: number): void {
    const place = placeOf(low);
    this.#pages[2 * place] = low & -PAGE;
    this.#pages[2 * place + 1] = high;
    this.#frames[place] = frame;
  }
  forget(): void {
    this.#pages.fill(1);
  }
}
