/** What a program says of the peer it wants, checked: the limits are those of the flags of `kvnode start`. */
import type { Option } from '../config/option.ts'
import { PEER_OPTIONS } from '../config/option-table.ts'
import { LOG_LEVELS } from '../platform/log.ts'
import { checkOptionNames, wrong } from '../wire/request-check.ts'
import type { CreatePeerOptions } from './peer.ts'

/** Those that are flags too. */
const COMMON: Readonly<Partial<Record<keyof CreatePeerOptions, Option<unknown>>>> = {
  port: PEER_OPTIONS.port,
  host: PEER_OPTIONS.host,
  replace: PEER_OPTIONS.replace,
  manualLayout: PEER_OPTIONS.manualLayout,
  zone: PEER_OPTIONS.zone,
  weight: PEER_OPTIONS.weight,
  maxValueBytes: PEER_OPTIONS.maxValue,
  enableFaults: PEER_OPTIONS.enableFaults,
  maxHintBytes: PEER_OPTIONS.maxHints,
  purgeAfterSeconds: PEER_OPTIONS.purgeAfter,
}
const OTHERS = ['dataDir', 'advertise', 'allowHost', 'join', 'logLevel', 'signal', 'onFatal', 'onLeft']

/** Addresses are checked where they are parsed. @throws INVALID_ARGUMENT */
export function checkPeerOptions(options: CreatePeerOptions): void {
  checkOptionNames(options, [...OTHERS, ...Object.keys(COMMON)], 'createPeer')
  const { dataDir, allowHost, join, logLevel, signal, onFatal, onLeft } = options
  if (typeof dataDir !== 'string' || dataDir === '')
    throw wrong('dataDir', dataDir, 'the path of a directory')
  for (const [name, option] of Object.entries(COMMON)) {
    const value = options[name as keyof CreatePeerOptions]
    if (value === undefined) continue
    // The table also takes text for numbers and switches, as flags and variables are.
    const isOfType = typeof value === typeof option.default
    if (!isOfType || !isAllowed(option, value)) throw wrong(name, value, option.allowed)
  }
  if (allowHost !== undefined && !(Array.isArray(allowHost) && isAllowed(PEER_OPTIONS.allowHost, allowHost)))
    throw wrong('allowHost', allowHost, `a list of ${PEER_OPTIONS.allowHost.allowed}`)
  if (join !== undefined && !Array.isArray(join)) throw wrong('join', join, 'a list of addresses host:port')
  if (logLevel !== undefined && !LOG_LEVELS.includes(logLevel))
    throw wrong('logLevel', logLevel, `one of ${LOG_LEVELS.join(', ')}`)
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw wrong('signal', signal, 'an AbortSignal')
  if (onFatal !== undefined && typeof onFatal !== 'function') throw wrong('onFatal', onFatal, 'a function')
  if (onLeft !== undefined && typeof onLeft !== 'function') throw wrong('onLeft', onLeft, 'a function')
}

function isAllowed(option: Option<unknown>, value: unknown): boolean {
  return option.schema.safeParse(value).success
}
