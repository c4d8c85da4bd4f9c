/** Compressed data is damaged or in a form that is not read here. Callers that know what the data is turn it into their own error. */
export class CompressionError extends Error {
  override readonly name = "CompressionError";
}
