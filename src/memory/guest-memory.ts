/* GuestMemory: a VM's guest-physical pages over frames of a pool. Used by devices and loaders on any thread; the engine reads the same tables from wasm.
 * Guest data never throws: ranges outside RAM come back as undefined/false. */

/** Guest-physical access for devices, boot loaders, snapshots. Addresses and lengths in bytes. */
export interface GuestMemory {
  /** RAM size in bytes (contiguous from 0 but for the hole below 4 GiB that ranges() tells). */
  readonly sizeBytes: number;
  /** RAM ranges, ascending: [start, end). */
  ranges(): readonly { start: number; end: number }[];
  /** Is [gpa, gpa+length) all RAM? */
  contains(gpa: number, length: number): boolean;
  /** Copies out of guest memory; false if any byte is outside RAM (nothing is then guaranteed about `into`). */
  read(gpa: number, into: Uint8Array): boolean;
  /** Copies into guest memory, allocating frames as needed; invalidates translated code and marks dirty. */
  write(gpa: number, from: Uint8Array): boolean;
  /** Little-endian scalars; undefined/false outside RAM. */
  readU16(gpa: number): number | undefined;
  readU32(gpa: number): number | undefined;
  readU64(gpa: number): bigint | undefined;
  writeU16(gpa: number, value: number): boolean;
  writeU32(gpa: number, value: number): boolean;
  writeU64(gpa: number, value: bigint): boolean;
  /** Puts a byte into guest memory, atomically. @returns the byte before; undefined outside RAM */
  exchangeU8(gpa: number, value: number): number | undefined;
  /** Views on the frames behind a range, page run by page run, for I/O without copying. `forWrite` allocates. undefined outside RAM. */
  slices(gpa: number, length: number, forWrite: boolean): Uint8Array[] | undefined;
}
