/* FuseServer: what the file system device needs of whoever answers its requests. Implemented by src/share. I/O thread only. */

/** Answers FUSE requests. @source Linux include/uapi/linux/fuse.h */
export interface FuseServer {
  /** Answers one request. Never rejects.
   *  @param request fuse_in_header and what follows: the guest may change it meanwhile
   *  @param reply room for fuse_out_header and what follows, written to until the promise settles
   *  @returns bytes written; 0 if the request has no answer */
  handle(request: readonly Uint8Array[], reply: readonly Uint8Array[]): Promise<number>;
  /** Gives everything back that the host lends. */
  close(): Promise<void>;
}
