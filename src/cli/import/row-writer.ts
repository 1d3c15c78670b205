/**
 * Writes one row until it is acknowledged, is refused for good, or has been tried for long enough.
 *
 * A put without a context replaces what it finds. Sent again after its answer was lost it would replace what
 * others have written over it since, so that is done only when nothing was written for sure (OVERLOADED,
 * UNAVAILABLE). After TIMEOUT_UNKNOWN the key is looked at first. It holds the row: done, if as many owners
 * as must have it on disk say so. It never held anything: the row is sent again with the context of an empty
 * key, which replaces nothing, so that the worst that comes of it is a sibling. It holds anything else:
 * whether that came before the row or after it nobody can tell, so it stays as it is and the row is not
 * acknowledged.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { equalBytes } from '../../base/bytes.ts'
import { KvError, toKvError } from '../../base/error.ts'
import { hashText32 } from '../../base/hash.ts'
import type { ClusterId } from '../../base/ids.ts'
import type { Keyspace, Level } from '../../protocol/configuration.ts'
import { contextSeed, encodeContext } from '../../protocol/context.ts'
import { EMPTY_DOTS } from '../../protocol/dvv.ts'
import type { FoundValue, KvService, PutRequest } from '../../wire/requests.ts'
import type { Entry } from './row-entry.ts'

const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2000

export interface WriteRule {
  readonly blind: boolean
  readonly w: Level | null
  readonly timeoutMs: number
  /** How long one row is tried. */
  readonly retryMs: number
}

export interface WriteTarget {
  readonly service: Pick<KvService, 'put' | 'get'>
  /** A name for one write, under which it may be sent again. */
  newId(): string
  readonly clusterId: ClusterId
  readonly keyspace: Pick<Keyspace, 'id' | 'name' | 'w'>
}

export class RowWriter {
  readonly #target: WriteTarget
  readonly #rule: WriteRule
  readonly #clusterSeed: number

  constructor(target: WriteTarget, rule: WriteRule) {
    this.#target = target
    this.#rule = rule
    this.#clusterSeed = hashText32(target.clusterId)
  }

  /** Null when it is acknowledged. Once the signal is aborted it is not sent again. */
  async write(entry: Entry, signal: AbortSignal): Promise<KvError | null> {
    const request = this.#request(entry)
    const deadlineMs = Date.now() + this.#rule.retryMs
    let unknown: KvError | null = null
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
      try {
        if (unknown === null) await this.#target.service.put(request)
        else await this.#writeUnlessThere(entry, request)
        return null
      } catch (thrown) {
        const error = toKvError(thrown)
        if (error instanceof Undecidable) return error
        if (error.code === 'TIMEOUT_UNKNOWN') unknown ??= error
        const jitteredMs = pauseMs * (0.5 + Math.random())
        if (!mayPass(error) || signal.aborted || Date.now() + jitteredMs > deadlineMs) return unknown ?? error
        await sleep(jitteredMs)
      }
    }
  }

  /** After a write that may have been done. Fails as a get or a put does, or with Undecidable. */
  async #writeUnlessThere(entry: Entry, request: PutRequest): Promise<void> {
    const { service, keyspace } = this.#target
    const { key, timeoutMs } = request
    // A read answers when so many owners have what it shows on disk: what the write would have waited for.
    const r = this.#rule.w ?? keyspace.w
    const found = await service.get({ keyspace: keyspace.name, key, r, timeoutMs })
    if (found.values.some((value) => holds(value, entry))) return
    if (found.context !== null) throw new Undecidable()
    const context = encodeContext(EMPTY_DOTS, contextSeed(this.#clusterSeed, keyspace.id, key))
    await service.put({ ...request, context, blind: false })
  }

  #request({ key, value, contentType }: Entry): PutRequest {
    const { blind, w, timeoutMs } = this.#rule
    return {
      keyspace: this.#target.keyspace.name,
      key,
      value,
      contentType,
      context: null,
      blind,
      w,
      writeId: this.#target.newId(),
      timeoutMs,
      ttlMs: null,
    }
  }
}

class Undecidable extends KvError {
  constructor() {
    const advice = 'look before importing the row again, which would replace it'
    super(
      'TIMEOUT_UNKNOWN',
      `it may or may not have been written, and the key holds something else; ${advice}`,
    )
  }
}

/** Whether it may succeed when it is tried again. */
export function mayPass(error: KvError): boolean {
  return error.retryable || error.code === 'TIMEOUT_UNKNOWN'
}

function holds(found: FoundValue, { value, contentType }: Entry): boolean {
  return equalBytes(found.value, value) && found.contentType === contentType
}
