/**
 * Frames of which a part came, on all links of one kind that a listener took. They are kept until they are
 * whole, so whoever begins one and never ends it would hold memory for as long as he likes. Each has so much
 * time, all together so many bytes; past that the oldest goes.
 */

/** One link. */
export interface PartialFrame {
  /** It took too long, or there is no room for it: the link ends now, and says `ended`. */
  abandon(): void
}

const SWEEP_INTERVAL_MS = 1_000

export class PartialFrames {
  readonly #maxBytes: number
  readonly #timeoutMs: number
  /** When each began: the oldest first. */
  readonly #begunMs = new Map<PartialFrame, number>()
  #bytes = 0
  #sweepTimer: NodeJS.Timeout | null = null
  #isStopped = false

  constructor(maxBytes: number, timeoutMs: number) {
    this.#maxBytes = maxBytes
    this.#timeoutMs = timeoutMs
  }

  /** More of it came. */
  grew(frame: PartialFrame, sizeBytes: number): void {
    if (!this.#begunMs.has(frame)) this.#begunMs.set(frame, performance.now())
    this.#bytes += sizeBytes
    this.#sweepLater()
    if (this.#bytes <= this.#maxBytes) return
    for (const oldest of this.#begunMs.keys()) {
      if (this.#bytes <= this.#maxBytes) return
      oldest.abandon()
    }
  }

  /** It is whole, or its link is gone; `sizeBytes` is all it grew by. */
  ended(frame: PartialFrame, sizeBytes: number): void {
    if (this.#begunMs.delete(frame)) this.#bytes -= sizeBytes
  }

  stop(): void {
    this.#isStopped = true
    if (this.#sweepTimer !== null) clearTimeout(this.#sweepTimer)
    this.#sweepTimer = null
  }

  #sweepLater(): void {
    if (this.#isStopped) return
    this.#sweepTimer ??= setTimeout(this.#sweep, Math.min(SWEEP_INTERVAL_MS, this.#timeoutMs))
  }

  readonly #sweep = (): void => {
    this.#sweepTimer = null
    const nowMs = performance.now()
    for (const [oldest, begunMs] of this.#begunMs) {
      if (nowMs - begunMs < this.#timeoutMs) break
      oldest.abandon()
    }
    if (this.#begunMs.size > 0) this.#sweepLater()
  }
}
