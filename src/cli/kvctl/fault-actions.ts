/**
 * What `fault` does: it asks one peer who there is, and sends the command to each that has a part in it. Over
 * HTTP, which a peer that plays dead goes on answering for faults alone, and from here, because the peers may
 * not reach each other.
 */
import { isErrorCode, KvError } from '../../base/error.ts'
import { type Address, parseAddress } from '../../base/ids.ts'
import type { FaultCommand, FaultReport, PeerPlace } from '../../wire/faults.ts'
import { peersTouched, resolveFault } from '../../wire/faults.ts'
import { exitCodeOf } from '../exit-code.ts'
import { AdvisedError } from '../failure.ts'
import { colors, printJson, renderTable } from '../terminal.ts'

export interface Asking {
  readonly peers: readonly string[]
  readonly timeoutMs: number
  readonly json: boolean
}

const CONCERNED_ONLY = "this is about the peers concerned; about all: 'kvctl fault list'\n"

/** What the peers concerned said, in their order. */
interface Answers {
  readonly reports: readonly FaultReport[]
  /** Not running: they simulate nothing, and forget what they simulated. */
  readonly absent: readonly Address[]
  readonly failures: readonly Failure[]
}

interface Failure {
  readonly address: Address
  readonly error: KvError
}

/**
 * All peers that have a part are looked at first: a failure that only some of them simulate is another one
 * than was asked for, and often one that nobody notices.
 *
 * @throws INVALID_ARGUMENT, FORBIDDEN: some peer cannot take part, and nothing was changed; UNAVAILABLE: one
 * did not answer, and the message says whether anything was changed
 */
export async function injectFault(command: FaultCommand, asking: Asking): Promise<void> {
  const { peers } = await askAny(asking)
  if (command.fault === 'heal') return tell(await askAll(peers, asking, command), asking, 'healed')
  const resolved = resolveFault(command, peers)
  const touched = peersTouched(resolved, peers)
  checkReady(resolved, await askAll(touched, asking, null))
  const answers = await askAll(touched, asking, resolved)
  if (answers.reports.length > 0) {
    await print(answers, asking.json, null)
    if (!asking.json && touched.length < peers.length) process.stdout.write(CONCERNED_ONLY)
  }
  if (answers.reports.length === 0 && answers.failures.length === 0) throw unreached(answers.absent)
  const [failure] = answers.failures
  if (failure === undefined) return
  const done = answers.reports.map(({ address }) => address).join(', ')
  const message = `${failure.error.message}; it was applied at ${done === '' ? 'no peer' : done}`
  throw new AdvisedError(failure.error.code, message, "'kvctl fault heal' ends it where it was applied")
}

export async function listFaults(asking: Asking): Promise<void> {
  const { peers } = await askAny(asking)
  await tell(await askAll(peers, asking, null), asking, null)
}

/** @throws what keeps a peer from its part */
function checkReady(resolved: FaultCommand, { reports, absent, failures }: Answers): void {
  const [failure] = failures
  if (failure !== undefined) throw unchanged(failure.error)
  if (reports.length === 0) throw unreached(absent)
  for (const { address, peers } of reports) {
    try {
      resolveFault(resolved, peers)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      throw unchanged(new KvError(error.code, `${address}: ${error.message}`))
    }
  }
}

function unchanged({ code, message }: KvError): KvError {
  return new KvError(code, `${message}; it was applied nowhere`)
}

/** Peers that never simulate anything, or are not running, are no error here while others answer. */
async function tell(answers: Answers, asking: Asking, done: 'healed' | null): Promise<void> {
  const { reports, absent, failures } = answers
  const unknown = failures.find(({ error }) => error.code !== 'FORBIDDEN')
  if (reports.length === 0) throw failures[0]?.error ?? unreached(absent)
  await print(answers, asking.json, done)
  if (unknown !== undefined) process.exitCode = exitCodeOf(unknown.error.code)
}

/** @param command null: what is being simulated */
async function askAll(
  places: readonly PeerPlace[],
  asking: Asking,
  command: FaultCommand | null,
): Promise<Answers> {
  const body = command === null ? null : JSON.stringify(command)
  const answers = await Promise.allSettled(places.map(({ address }) => ask(address, asking.timeoutMs, body)))
  const reports: FaultReport[] = []
  const absent: Address[] = []
  const failures: Failure[] = []
  for (const [index, answer] of answers.entries()) {
    const { address } = places[index] as PeerPlace
    if (answer.status === 'fulfilled') reports.push(answer.value)
    else if (answer.reason instanceof NotRunning) absent.push(address)
    else if (answer.reason instanceof KvError) failures.push({ address, error: answer.reason })
    else throw answer.reason
  }
  return { reports, absent, failures }
}

async function print(answers: Answers, json: boolean, done: 'healed' | null): Promise<void> {
  const { reports, absent, failures } = answers
  if (json) {
    const peers = reports.map(({ nodeId, address, state, faults }) => ({ nodeId, address, state, faults }))
    const failed = failures.map(({ address, error: { code, message } }) => ({ address, code, message }))
    printJson({ peers, absent, failed })
    return
  }
  const rows = reports.map(({ address, state, faults }) => [address, state, String(faults.length)])
  const titles = [{ title: 'peer' }, { title: 'state' }, { title: 'faults', align: 'right' }] as const
  // Both ends of a cut say so.
  const sentences = new Set(reports.flatMap(({ faults }) => faults).sort())
  const isWhole = failures.length === 0
  const lines = [await renderTable(titles, rows), '', ...sentences]
  if (done !== null && !isWhole) lines.push(`${done} at ${reports.map(({ address }) => address).join(', ')}`)
  else if (sentences.size === 0) lines.push(`nothing is simulated${isWhole ? '' : ' there'}`)
  process.stdout.write(`${lines.join('\n')}\n`)
  const { yellow } = colors(process.stderr)
  for (const address of absent) process.stderr.write(yellow(`warning: ${address} is not running\n`))
  for (const { error } of failures) process.stderr.write(yellow(`warning: ${error.message}\n`))
}

/** The first of the named peers that answers, and can simulate failures. */
async function askAny({ peers, timeoutMs }: Asking): Promise<FaultReport> {
  const failures: KvError[] = []
  for (const address of peers.map(parseAddress)) {
    try {
      return await ask(address, timeoutMs, null)
    } catch (error) {
      if (!(error instanceof KvError) || (error.code !== 'UNAVAILABLE' && error.code !== 'FORBIDDEN'))
        throw error
      failures.push(error)
    }
  }
  const [first] = failures
  if (first !== undefined && failures.length === 1) throw first
  throw failures.find(({ code }) => code === 'FORBIDDEN') ?? unreached(peers)
}

function unreached(peers: readonly string[]): KvError {
  return new AdvisedError(
    'UNAVAILABLE',
    `no answer from ${peers.join(', ')}; is kvnode running there?`,
    '--peer HOST:PORT names another peer',
  )
}

/** Nobody listens there. */
class NotRunning extends AdvisedError {
  constructor(address: Address) {
    super('UNAVAILABLE', `nothing is running at ${address}`, '--peer HOST:PORT names another peer')
  }
}

/** @param body null: what is being simulated */
async function ask(address: Address, timeoutMs: number, body: string | null): Promise<FaultReport> {
  let response: Response
  let answer: unknown
  try {
    response = await fetch(`http://${address}/v1/faults`, {
      signal: AbortSignal.timeout(timeoutMs),
      ...(body === null ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body }),
    })
    answer = await response.json()
  } catch (error) {
    if (isRefused(error)) throw new NotRunning(address)
    throw new KvError('UNAVAILABLE', `${address} did not answer in time, or not as a peer does`, {
      cause: error,
    })
  }
  if (response.ok) return answer as FaultReport
  const { code, detail } = answer as { readonly code?: unknown; readonly detail?: unknown }
  throw new KvError(isErrorCode(code) ? code : 'INTERNAL', `${address}: ${String(detail)}`)
}

function isRefused(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as { readonly code?: unknown } | undefined) : undefined
  return cause?.code === 'ECONNREFUSED'
}
