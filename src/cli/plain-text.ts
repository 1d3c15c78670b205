/**
 * Text that others wrote, for one line of a terminal: it may hold control sequences, or pages of anything.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not reach the terminal
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/

export function hasControlCharacters(text: string): boolean {
  return CONTROL_CHARACTER.test(text)
}

export function plainText(text: string, maxLength: number): string {
  const plain = text.replaceAll(new RegExp(CONTROL_CHARACTER, 'g'), '?')
  return plain.length > maxLength ? `${plain.slice(0, maxLength - 1)}…` : plain
}
