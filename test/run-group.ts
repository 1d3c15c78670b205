/**
 * Runs the given test files in this process, as uvu's own command does, and fails when one of them has no
 * tests.
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

interface UvuGlobals {
  UVU_DEFER?: number
  UVU_INDEX?: number
  UVU_QUEUE?: (string | (() => Promise<unknown>))[][]
}

const globals = globalThis as UvuGlobals
globals.UVU_DEFER = 1
const uvu = await import('uvu')
const queue = globals.UVU_QUEUE ?? []
const empty: string[] = []

for (const [index, file] of process.argv.slice(2).entries()) {
  globals.UVU_INDEX = index
  queue.push([file])
  await import(pathToFileURL(resolve(file)).href)
  if (queue[index]?.length === 1) empty.push(file)
}
await (uvu as unknown as { exec(bail: boolean): Promise<void> }).exec(false)
for (const file of empty) {
  process.stderr.write(`${file} ran no tests: does it call test.run()?\n`)
  process.exitCode = 1
}
