/**
 * While a simulation runs, whatever would let the real world in throws: real time, real chance, real timers.
 * They are put back between the simulation's turns and after it, also when it ends by an error.
 */

const FORBIDDEN_FUNCTIONS: readonly (readonly [owner: string | null, name: string])[] = [
  [null, 'setTimeout'],
  [null, 'setInterval'],
  [null, 'setImmediate'],
  ['Math', 'random'],
  ['performance', 'now'],
  ['crypto', 'randomUUID'],
  ['crypto', 'getRandomValues'],
]

type Holder = Record<string, unknown>
interface Forbidden {
  readonly holder: Holder
  readonly name: string
  readonly replacement: unknown
}

let table: readonly Forbidden[] | null = null
let depth = 0
let undos: readonly (() => void)[] = []

/**
 * From now on they throw; the returned function undoes it (once). Calls nest: the last one to undo gives them
 * back.
 */
export function forbidGlobals(): () => void {
  table ??= FORBIDDEN_FUNCTIONS.flatMap(([owner, name]) => forbidden(owner, name)).concat(forbiddenDate())
  if (depth++ === 0) undos = table.map(replace)
  let isUndone = false
  return () => {
    if (isUndone) return
    isUndone = true
    if (--depth === 0) for (const undo of undos) undo()
  }
}

function replace({ holder, name, replacement }: Forbidden): () => void {
  const descriptor = Object.getOwnPropertyDescriptor(holder, name)
  Object.defineProperty(holder, name, {
    value: replacement,
    writable: true,
    configurable: true,
    enumerable: true,
  })
  return () => {
    if (descriptor === undefined) delete holder[name]
    else Object.defineProperty(holder, name, descriptor)
  }
}

function forbidden(owner: string | null, name: string): Forbidden[] {
  const global = globalThis as unknown as Holder
  const holder = owner === null ? global : (global[owner] as Holder | undefined)
  if (holder === undefined) return []
  const label = owner === null ? name : `${owner}.${name}`
  return [{ holder, name, replacement: () => fail(label) }]
}

/** Calls, `new` and `Date.now` throw; `instanceof Date` goes on working, because codecs ask it. */
function forbiddenDate(): Forbidden[] {
  const global = globalThis as unknown as Holder
  const replacement = new Proxy(globalThis.Date, {
    apply: () => fail('Date'),
    construct: () => fail('Date'),
    get: (target, name, receiver) =>
      name === 'now' ? () => fail('Date.now') : Reflect.get(target, name, receiver),
  })
  return [{ holder: global, name: 'Date', replacement }]
}

function fail(name: string): never {
  throw new Error(`${name} was used inside a simulation; a peer knows time and chance only from its effects`)
}
