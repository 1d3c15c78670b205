/** What the descriptions of all paths are made of. */
import { PROBLEM_CONTENT_TYPE } from '../wire/problem.ts'

export type Json = Readonly<Record<string, unknown>>

export const problem = {
  description: 'What went wrong, and what to do.',
  content: { [PROBLEM_CONTENT_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
}

export function json(description: string, schema: Json): Json {
  return { description, content: { 'application/json': { schema } } }
}

export function operation(summary: string, responses: Json, more: Json = {}): Json {
  return { summary, ...more, responses: { ...responses, default: problem } }
}
