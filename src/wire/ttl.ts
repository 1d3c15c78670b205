/** How long a value lives, in words: `500ms`, `60s`, `5m`, `12h`, `30d`. */

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const TTL = /^(?<count>\d{1,12})(?<unit>ms|s|m|h|d)$/

/** About ten years: what is to live longer had better not expire. */
export const MAX_TTL_MS = 3660 * UNITS_MS.d

export const TTL_HELP = 'a time such as 500ms, 60s, 5m, 12h or 30d, at most 3660d'

/** In ms; null for anything else, and when it is out of range. */
export function parseTtl(word: string): number | null {
  const { count, unit } = TTL.exec(word)?.groups ?? {}
  const ttlMs = Number(count) * (UNITS_MS[unit as keyof typeof UNITS_MS] ?? 0)
  return ttlMs >= 1 && ttlMs <= MAX_TTL_MS ? ttlMs : null
}
