/**
 * `npm test`: every test file, grouped by folder (the end-to-end tests one file at a time), each group in a
 * process of its own, two at a time. The last line is `N passed, N failed, N skipped`. Arguments choose the
 * files whose path contains one of them.
 */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const AT_ONCE = 2
/** A group that takes longer hangs. */
const GROUP_TIMEOUT_MS = 210_000

interface Group {
  readonly name: string
  readonly files: readonly string[]
}

interface Result {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

await main(process.argv.slice(2))

async function main(chosen: readonly string[]): Promise<void> {
  const queue = groups(testFiles(join(ROOT, 'test'), 'test').filter((file) => isChosen(file, chosen)))
  if (queue.length === 0) {
    process.stderr.write(`no test file has ${chosen.join(' or ')} in its path\n`)
    process.exitCode = 2
    return
  }
  const results: Result[] = []
  const lane = async (): Promise<void> => {
    for (let group = queue.shift(); group !== undefined; group = queue.shift())
      results.push(await runGroup(group))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  const sum = (field: keyof Result): number => results.reduce((total, result) => total + result[field], 0)
  process.stdout.write(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped\n`)
  process.exitCode = sum('failed') === 0 ? 0 : 1
}

function isChosen(file: string, chosen: readonly string[]): boolean {
  return chosen.length === 0 || chosen.some((part) => file.includes(part))
}

function testFiles(directory: string, path: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .flatMap((entry) => {
      const name = `${path}/${entry.name}`
      if (entry.isDirectory()) return testFiles(join(directory, entry.name), name)
      return entry.name.endsWith('.test.ts') ? [name] : []
    })
    .sort()
}

/** The end-to-end tests first: they wait more than they compute, so the others fill the time. */
function groups(files: readonly string[]): Group[] {
  const byName = new Map<string, string[]>()
  for (const file of files) {
    const folder = file.split('/').slice(0, -1).join('/')
    const name = folder.startsWith('test/e2e') ? file : folder
    byName.set(name, [...(byName.get(name) ?? []), file])
  }
  const all = [...byName].map(([name, groupFiles]) => ({ name, files: groupFiles }))
  return all.sort((a, b) => Number(b.name.startsWith('test/e2e')) - Number(a.name.startsWith('test/e2e')))
}

function runGroup(group: Group): Promise<Result> {
  const startMs = performance.now()
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--import', 'tsx', 'test/run-group.ts', ...group.files], {
      cwd: ROOT,
      env: { ...process.env, FORCE_COLOR: process.stdout.isTTY === true ? '1' : '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const output: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => output.push(chunk))
    const timer = setTimeout(() => child.kill('SIGKILL'), GROUP_TIMEOUT_MS)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const text = Buffer.concat(output).toString()
      const result = readTotals(text, code === 0)
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
      const mark = result.failed === 0 ? 'ok  ' : 'FAIL'
      const skipped = result.skipped === 0 ? '' : `, ${result.skipped} skipped`
      process.stdout.write(`${mark} ${group.name}  ${result.passed} passed${skipped}  (${seconds} s)\n`)
      if (result.failed > 0) process.stdout.write(`${text}${signal === null ? '' : `ended by ${signal}\n`}\n`)
      resolve(result)
    })
  })
}

/**
 * From uvu's totals. A group that fails without a failed test — a file that cannot be loaded, one without
 * tests — counts as one.
 */
function readTotals(text: string, succeeded: boolean): Result {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
  const plain = text.replaceAll(/\u001b\[\d+m/g, '')
  const figure = (name: string): number => {
    const found = [...plain.matchAll(new RegExp(`^ {2}${name}: +(\\d+)$`, 'gm'))].at(-1)
    return Number(found?.[1] ?? 0)
  }
  const passed = figure('Passed')
  const failed = figure('Total') - passed
  return { passed, failed: succeeded ? failed : Math.max(1, failed), skipped: figure('Skipped') }
}
