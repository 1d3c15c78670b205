/**
 * Where to cut a range of keys so that its first part holds about so many bytes on disk: work on a part then
 * ends soon, however large the range, and whatever the keys look like.
 *
 * Intuition: the end of the part is spelled byte by byte. Each time the greatest byte is taken with which the
 * part is not too large yet, until it is large enough.
 */
import { type Bytes, compareBytes } from '../base/bytes.ts'

/** Keys that share more than that with all others are not cut apart. */
const MAX_CUT_BYTES = 64

/**
 * @param sizeOf bytes of a range, about; grows with its end
 * @returns the end of the first part: after `gte`, and `lt` when that is all of it
 */
export async function endOfPart(
  sizeOf: (gte: Bytes, lt: Bytes) => Promise<number>,
  gte: Bytes,
  lt: Bytes,
  maxBytes: number,
): Promise<Bytes> {
  if ((await sizeOf(gte, lt)) <= maxBytes) return lt
  /** The least end known with which it is too large. */
  let beyond = lt
  let within: Bytes = new Uint8Array()
  while (within.length < MAX_CUT_BYTES) {
    let [low, high] = [-1, 256]
    let sizeBytes = 0
    while (high - low > 1) {
      const middle = (low + high) >> 1
      const end = Uint8Array.of(...within, middle)
      const isAfter = compareBytes(end, gte) > 0
      const size =
        compareBytes(end, beyond) >= 0 ? Number.POSITIVE_INFINITY : isAfter ? await sizeOf(gte, end) : 0
      if (size <= maxBytes) {
        low = middle
        sizeBytes = size
      } else {
        high = middle
        if (size !== Number.POSITIVE_INFINITY) beyond = end
      }
    }
    if (low < 0) break
    within = Uint8Array.of(...within, low)
    if (sizeBytes > maxBytes / 2) return within
  }
  return beyond
}
