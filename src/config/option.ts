/**
 * One option: everything that is known of it in one place. Its flag, environment variable, key in the config
 * file, validation, help and documentation are derived from this description.
 */
import * as z from 'zod/mini'
import { type Address, parseAddress } from '../base/ids.ts'

/** How the value is written: decides how flags take it and how text from flags and variables is split. */
export type OptionShape = 'single' | 'list' | 'switch'

export interface Option<T> {
  readonly shape: OptionShape
  /** Checks and converts what a flag, a variable (text) or a file (text, number, boolean, list) gave. */
  readonly schema: z.ZodMiniType<T>
  /** What is allowed, in words, for help and error messages. */
  readonly allowed: string
  readonly default: T
  /** What stands for the value in help, as in `--port PORT`; '' for switches. */
  readonly placeholder: string
  /** '' when the value has none. */
  readonly unit: string
  readonly help: string
}

export type OptionTable = Readonly<Record<string, Option<unknown>>>
export type OptionValues<T extends OptionTable> = { readonly [K in keyof T]: z.output<T[K]['schema']> }

/** What differs from kind to kind is in the kinds below; what differs from option to option is here. */
interface About<T> {
  readonly default: T
  readonly help: string
  readonly placeholder?: string
  readonly unit?: string
}

function option<T>(
  kind: Pick<Option<T>, 'shape' | 'schema' | 'allowed' | 'placeholder'>,
  about: About<T>,
): Option<T> {
  return { unit: '', ...kind, ...about }
}

export function integer(min: number, max: number, about: About<number>): Option<number> {
  const digits = z.pipe(
    z.string().check(z.regex(/^\d{1,15}$/)),
    z.transform((text: string) => Number(text)),
  )
  const schema = z.pipe(z.union([z.number(), digits]), z.int().check(z.minimum(min), z.maximum(max)))
  return option(
    { shape: 'single', schema, allowed: `a whole number from ${min} to ${max}`, placeholder: 'N' },
    about,
  )
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
}
const SIZE = /^(?<count>\d{1,12}) ?(?<unit>|B|KiB|MiB|GiB)$/

/** A number of bytes, with or without a unit. */
export function size(minBytes: number, maxBytes: number, about: About<number>): Option<number> {
  const text = z.pipe(
    z.string().check(z.regex(SIZE)),
    z.transform((written: string) => {
      const groups = SIZE.exec(written)?.groups
      return Number(groups?.count) * (SIZE_UNITS[groups?.unit ?? ''] ?? Number.NaN)
    }),
  )
  const schema = z.pipe(z.union([z.number(), text]), z.int().check(z.minimum(minBytes), z.maximum(maxBytes)))
  const bounds = `from ${formatSize(minBytes)} to ${formatSize(maxBytes)}`
  const allowed = `a size ${bounds}, such as 65536, 512KiB or 1MiB`
  return option({ shape: 'single', schema, allowed, placeholder: 'SIZE' }, about)
}

export function text(pattern: RegExp, allowed: string, about: About<string>): Option<string> {
  const schema = z.pipe(
    z.union([z.string(), z.pipe(z.number(), z.transform(String))]),
    z.string().check(z.regex(pattern)),
  )
  return option({ shape: 'single', schema, allowed, placeholder: 'TEXT' }, about)
}

export function choice<const W extends readonly [string, ...string[]]>(
  words: W,
  about: About<W[number]>,
): Option<W[number]> {
  const schema = z.enum(words) as unknown as z.ZodMiniType<W[number]>
  return option(
    { shape: 'single', schema, allowed: `one of ${words.join(', ')}`, placeholder: words.join('|') },
    about,
  )
}

const TRUTHS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  '1': true,
  false: false,
  no: false,
  off: false,
  '0': false,
}

export function toggle(about: About<boolean>): Option<boolean> {
  const word = z.pipe(
    z.string().check(z.refine((written) => Object.hasOwn(TRUTHS, written))),
    z.transform((written: string) => TRUTHS[written] === true),
  )
  return option(
    { shape: 'switch', schema: z.union([z.boolean(), word]), allowed: 'true or false', placeholder: '' },
    about,
  )
}

const address = z.pipe(
  z.string().check(z.refine(isAddress)),
  z.transform((written: string) => parseAddress(written)),
)

/** An address, or '' for none. */
export function optionalAddress(about: About<Address | ''>): Option<Address | ''> {
  const schema = z.union([z.literal(''), address])
  return option(
    { shape: 'single', schema, allowed: 'host:port, as in 10.0.0.5:7001', placeholder: 'HOST:PORT' },
    about,
  )
}

/** Several addresses. */
export function addresses(about: About<readonly Address[]>): Option<readonly Address[]> {
  const allowed = 'addresses host:port, as in 10.0.0.5:7001'
  return option({ shape: 'list', schema: listOf(address), allowed, placeholder: 'HOST:PORT' }, about)
}

/** Several texts. */
export function texts(
  pattern: RegExp,
  allowed: string,
  about: About<readonly string[]>,
): Option<readonly string[]> {
  const schema = listOf(z.string().check(z.regex(pattern)))
  return option({ shape: 'list', schema, allowed, placeholder: 'TEXT' }, about)
}

/** The flag is repeated, a variable separates with commas, a file has a list. */
function listOf<T>(item: z.ZodMiniType<T, string>): z.ZodMiniType<readonly T[]> {
  return z.pipe(
    z.union([
      z.pipe(
        z.string(),
        z.transform((written: string) =>
          written
            .split(',')
            .map((part) => part.trim())
            .filter((part) => part !== ''),
        ),
      ),
      z.array(z.string()),
    ]),
    z.array(item),
  ) as unknown as z.ZodMiniType<readonly T[]>
}

function isAddress(written: string): boolean {
  try {
    parseAddress(written)
    return true
  } catch {
    return false // The parser's only failure is a malformed address, which is the answer.
  }
}

export function formatSize(bytes: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB'] as const) {
    const unitBytes = SIZE_UNITS[unit] as number
    if (bytes >= unitBytes && bytes % unitBytes === 0) return `${bytes / unitBytes}${unit}`
  }
  return String(bytes)
}
