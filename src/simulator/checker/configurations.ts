/**
 * Invariant 6: a configuration number has one content, wherever it is seen, and no configuration has more
 * than two layouts.
 */
import { toHex } from '../../base/bytes.ts'
import { hash64 } from '../../base/hash.ts'
import type { Configuration } from '../../protocol/configuration.ts'
import { encodeConfiguration } from '../../wire/configuration-codec.ts'
import { Violation } from './violation.ts'

export interface ConfigurationChecker {
  /** What a peer goes by now. Call it often: repeated ones cost nothing. */
  saw(host: string, configuration: Configuration): void
  /** A host's disk is another one: it may have been told less. */
  replaced(host: string): void
  /** The highest number seen anywhere. */
  readonly highest: number
}

export function createConfigurationChecker(): ConfigurationChecker {
  const contents = new Map<number, { readonly hash: string; readonly host: string }>()
  const current = new Map<string, Configuration>()
  let highest = 0
  return {
    get highest() {
      return highest
    },
    replaced(host) {
      current.delete(host)
    },
    saw(host, configuration) {
      const before = current.get(host)
      if (before === configuration) return
      current.set(host, configuration)
      const { number, layouts } = configuration
      if (before !== undefined && number < before.number) {
        throw new Violation(6, `${host} went back from configuration ${before.number} to ${number}`)
      }
      if (layouts.length > 2) throw new Violation(6, `configuration ${number} has ${layouts.length} layouts`)
      highest = Math.max(highest, number)
      const bytes = encodeConfiguration(configuration)
      const hash = `${hash64(bytes).toString(16)}/${bytes.length}/${toHex(bytes.subarray(0, 8))}`
      const known = contents.get(number)
      if (known === undefined) contents.set(number, { hash, host })
      else if (known.hash !== hash) {
        throw new Violation(
          6,
          `configuration ${number} has one content on ${known.host} and another on ${host}`,
        )
      }
    },
  }
}
