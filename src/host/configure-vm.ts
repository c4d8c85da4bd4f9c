export async function configureInVm(
  _disk: string,
  _script: string,
  _o: unknown,
): Promise<{ status: number; log: string }> {
  throw new Error("soon");
}
