/* Numbers as people read them: 27.1 MiB, 1,234,567, 12.3 s. */

const BYTE_UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** 0 → "0 bytes", 1536 → "1.5 KiB", 536870912 → "512 MiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${BYTE_UNITS[unit]}`;
}

/** 1234567 → "1,234,567". */
export function formatCount(count: number | bigint): string {
  return String(count).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** 61350000 per second → "61.4 M/s". */
export function formatRate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return "0/s";
  if (perSecond >= 1e9) return `${(perSecond / 1e9).toFixed(2)} G/s`;
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(1)} M/s`;
  if (perSecond >= 1e3) return `${(perSecond / 1e3).toFixed(1)} k/s`;
  return `${Math.round(perSecond)}/s`;
}
