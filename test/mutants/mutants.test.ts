import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MUTANTS } from './mutants.ts'

const test = suite('mutants')
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

test('every mutant can be planted in the source as it is', () => {
  for (const { name, edits } of MUTANTS) {
    const sources = new Map<string, string>()
    for (const { file, text, instead } of edits) {
      const parts = (sources.get(file) ?? readFileSync(join(ROOT, file), 'utf8')).split(text)
      assert.is(parts.length, 2, `${name}: ${file} has its text ${parts.length - 1} times`)
      sources.set(file, parts.join(instead))
    }
  }
})

test.run()
