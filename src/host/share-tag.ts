/** What a guest mounts a shared directory by: volumes count from 0. */
export function shareTag(index: number): string {
  return `share${index}`;
}

/** What the guest needs for them. */
export const SHARE_MODULES = ["virtiofs"];
