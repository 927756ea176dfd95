/** Addresses become links, whole and alone; nothing hostile does; the text stays the text. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {linkify} from "../../../../chat/static/chat/page/log/linkify.js";
import {growthOf, matchingGrowthOf} from "../../support/work.js";

const links = (text) => linkify(text).filter(({href}) => href).map(({text: shown}) => shown);

for (const [text, ...expected] of [
  ["plain"],
  ["see https://example.com", "https://example.com"],
  ["http://a.example and https://b.example/x", "http://a.example", "https://b.example/x"],
  ["HTTPS://EXAMPLE.COM/X", "HTTPS://EXAMPLE.COM/X"],
  // The sentence's punctuation is the sentence's.
  ["https://example.com.", "https://example.com"],
  ["https://example.com/a?b=1&c=2#d!?…", "https://example.com/a?b=1&c=2#d"],
  ["is it https://example.com?", "https://example.com"],
  ["“https://example.com/x”, he said", "https://example.com/x"],
  // Brackets belong to the address when it opened them.
  ["(https://example.com)", "https://example.com"],
  ["(see https://example.com/a_(b))", "https://example.com/a_(b)"],
  ["https://en.wikipedia.org/wiki/Rust_(game)", "https://en.wikipedia.org/wiki/Rust_(game)"],
  ["[https://example.com/].", "https://example.com/"],
  ["https://example.com/((((", "https://example.com/(((("],
  ["https://example.com/))))", "https://example.com/"],
  // Markup is text.
  ['<a href="https://example.com/x">y</a>', "https://example.com/x"],
  ["<https://example.com>", "https://example.com"],
  // Not ours to open.
  ["javascript:alert(1)"],
  ["JaVaScRiPt://%0aalert(1)"],
  ["data:text/html,<script>1</script>"],
  ["vbscript:x file:///etc/passwd ftp://example.com blob:https"],
  ["xhttps://example.com"],
  ["https://"],
  ["https:///"],
  ["https://?"],
  ["https://exa mple", "https://exa"],
  ["https://[::bad"],
  // A name before the host is there to deceive.
  ["https://bank.example@evil.example/"],
  ["https://user:secret@evil.example/"],
  // Invisible characters, and those that turn the text, end an address.
  ["https://example.com/\u202egpj.exe", "https://example.com/"],
  ["https://exam\u200bple.com", "https://exam"],
  ["https://example.com\u200f تعال", "https://example.com"],
  ["\u2067https://example.com/a\u2069", "https://example.com/a"],
  // An apostrophe belongs to the word; a quotation ends where it was begun.
  ["https://en.wikipedia.org/wiki/Moore's_law", "https://en.wikipedia.org/wiki/Moore's_law"],
  ["(https://en.wikipedia.org/wiki/Moore’s_law)", "https://en.wikipedia.org/wiki/Moore’s_law"],
  ["'https://en.wikipedia.org/wiki/Moore's_law'", "https://en.wikipedia.org/wiki/Moore's_law"],
  ["{'url':'https://a.example/x','n':1}", "https://a.example/x"],
  ["‘https://a.example/x’, she said", "https://a.example/x"],
  ["the players' https://a.example/x'", "https://a.example/x"],
  ["«https://a.example/x» „https://b.example/y“ ‹https://c.example›", "https://a.example/x", "https://b.example/y", "https://c.example"],
  ["`https://a.example/x`y", "https://a.example/x"],
  // The sentence goes on in another script.
  ["https://example.com에서 봤어", "https://example.com"],
  ["https://example.com.에서", "https://example.com"],
  ["https://example.comを見て", "https://example.com"],
  ["https://example.comпривет", "https://example.com"],
  ["https://example.comสวัสดี", "https://example.com"],
  ["https://例え.jp에서", "https://例え.jp"],
  ["https://example.com:8000에서", "https://example.com:8000"],
  ["https://example.co.ukで", "https://example.co.uk"],
  ["https://example.com.au에 있어", "https://example.com.au"],
  ["https://a.example.co.jpの次 https://example.com.brи", "https://a.example.co.jp", "https://example.com.br"],
  ["https://example.com.auи.example"],
  ["https://example.com.аu"], // the a is Cyrillic
  ["https://t.cn/abc《가》", "https://t.cn/abc"],
  ["https://t.cn《가》", "https://t.cn"],
  ["「https://t.cn/abc」と『https://t.cn/d』", "https://t.cn/abc", "https://t.cn/d"],
  ["【https://t.cn/abc】〈https://t.cn〉［https://t.cn/x］", "https://t.cn/abc", "https://t.cn", "https://t.cn/x"],
  ["https://example.com؟", "https://example.com"],
  ["https://example.com/x؟ ثم", "https://example.com/x"],
  ["https://example.com، https://example.com/a؛", "https://example.com", "https://example.com/a"],
  ["https://example.com। https://example.com/a।", "https://example.com", "https://example.com/a"],
  ["https://example.com/a።", "https://example.com/a"],
  ["https://example.com/a‽ https://example.com/a⸮", "https://example.com/a", "https://example.com/a"],
  ["https://example.com/a՞ https://example.com/a᠃ https://example.com/a၏", ...Array(3).fill("https://example.com/a")],
  ["https://example.com/a〟 https://example.com/a＂ https://example.com/a〞", ...Array(3).fill("https://example.com/a")],
  ["https://de.wikipedia.org/wiki/§", "https://de.wikipedia.org/wiki/§"],
  ["https://example.com👍", "https://example.com"],
  ["https://example.com/a👍🏽❤️!", "https://example.com/a"],
  ["https://example.com/a 👍", "https://example.com/a"],
  ["https://example.com/a🫆🩷", "https://example.com/a"],
  ["https://example.com/a!🎉…", "https://example.com/a"],
  ["https://example.com/a1️⃣2⃣ https://example.com/a#️⃣", "https://example.com/a", "https://example.com/a"],
  ["https://example.com/a12", "https://example.com/a12"],
  ["https://en.wiktionary.org/wiki/👍", "https://en.wiktionary.org/wiki/👍"],
  ["https://example.com/?q=👍&x", "https://example.com/?q=👍&x"],
  ["https://example.com?검색=값", "https://example.com?검색=값"],
  ["https://fa.wikipedia.org/wiki/علی\u200cرضا", "https://fa.wikipedia.org/wiki/علی\u200cرضا"],
  ["https://ja.wikipedia.org/wiki/東京タワー。", "https://ja.wikipedia.org/wiki/東京タワー"],
  // Markup of other places.
  ["**https://example.com/x**", "https://example.com/x"],
  ["_https://example.com/a_b_", "https://example.com/a_b"],
  ["~~https://example.com/~ann~~", "https://example.com/~ann"],
  ["[a](https://example.com/x)다음", "https://example.com/x"],
  ["||https://example.com/x||", "https://example.com/x"],
  ["<https://example.com/a_(b)>", "https://example.com/a_(b)"],
  ["https://example.com/a_[b]_{c}", "https://example.com/a_[b]_{c}"],
  ["{https://example.com/a}", "https://example.com/a"],
  ["https://example.com/a—and so on", "https://example.com/a—and"],
  ["https://example.com—and", "https://example.com"],
  ["https://example.com/a — b", "https://example.com/a"],
  ["https://example.com/a?!?!", "https://example.com/a"],
  [`https://example.com${"에".repeat(400)}`, "https://example.com"],
  [`https://${"a".repeat(300)}.com`],
  // Hosts: what people read is where they go, or it is no link.
  ["https://127.1/ https://0x7f.0.0.1 https://2130706433"],
  ["https://127.0.0.1:8000/x", "https://127.0.0.1:8000/x"],
  ["https://[::1]:8000/x", "https://[::1]:8000/x"],
  ["http://example.com:80/x", "http://example.com:80/x"],
  ["https://example.com:", "https://example.com"],
  ["https://example.com:99999/"],
  ["https://Example.COM:443", "https://Example.COM:443"],
  ["https://exa%6dple.com/"],
  ["https://ｅxample.com/"],
  ["https://аpple.com/"], // the first letter is Cyrillic
  ["https://www.paypаl.com/"],
  ["https://аррӏе.com/"],
  ["https://ɢoogle.com/"],
  ["https://ονο.com/"],
  ["https://faceboоk.com"],
  ["https://bank.example\\@evil.example/", "https://bank.example"],
  ["https://bank.example,@evil.example/"],
  ["https://user:pass@evil.example:443/"],
  ["https://münchen.de/x", "https://münchen.de/x"],
  ["https://www.straße.de", "https://www.straße.de"],
  ["https://пример.рф/путь", "https://пример.рф/путь"],
  ["https://www.пример.рф", "https://www.пример.рф"],
  ["https://президент.com", "https://президент.com"],
  ["https://www.example.中国/x", "https://www.example.中国/x"],
  ["https://उदाहरण.भारत", "https://उदाहरण.भारत"],
  ["https://مثال.السعودية/x", "https://مثال.السعودية/x"],
  ["https://한국.kr", "https://한국.kr"],
  ["https://my_host.example/x", "https://my_host.example/x"],
  ["https://example.com.", "https://example.com"],
  ["https://example.com-", "https://example.com"],
  ["https://-bad-.example"],
  ["https://a..b"],
  ["http://localhost:8000/x", "http://localhost:8000/x"],
  // Texts without spaces.
  ["見て。https://例え.jp/道。次", "https://例え.jp/道"],
  ["（https://example.com）", "https://example.com"],
]) {
  test(`Links of ${JSON.stringify(text)}`, () => assert.deepEqual(links(text), expected));
}

test("An international host is shown as written and opened as what it is.", () => {
  const [{text, href}] = linkify("https://пример.рф/");
  assert.equal(text, "https://пример.рф/");
  assert.equal(href, "https://xn--e1afmkfd.xn--p1ai/");
});

test("No link leads to a host that people do not read.", () => {
  const ends = ["com", "de", "co.uk", "com.au", "рф", "中国", "한국"];
  const foreign = ["에서", "привет", "を", "؟", "👍", "《가》", "।", "ı", "а", "ο", "中"];
  for (const end of ends) {
    for (const after of [...foreign, ...foreign.map((word) => `${word}x.org`)]) {
      for (const {text, href} of linkify(`https://host.${end}${after}`)) {
        if (href) assert.equal(new URL(text).href, href);
        if (href && /^[a-z.]+$/.test(end)) assert.equal(new URL(href).host, `host.${end}`, text);
      }
    }
  }
});

test("The parts, joined, are the text; each link is http or https with a host.", () => {
  const pieces = ["https://", "http://", "a.b", "(", ")", "@", ":", ".", " ", "\u202e", "x", "\ud800", "😀", "/", "<", "javascript:"];
  let seed = 7;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 5_000; round += 1) {
    const text = Array.from({length: 1 + random(14)}, () => pieces[random(pieces.length)]).join("");
    const parts = linkify(text);
    assert.equal(parts.map((part) => part.text).join(""), text);
    for (const {href} of parts) if (href) assert.match(href, /^https?:\/\/[^/@]+/);
  }
});

test("Huge input takes work in proportion to its size.", () => {
  const hostile = [
    (n) => "http://".repeat(n),
    (n) => `https://example.com/${"(".repeat(n)}`,
    (n) => `https://example.com/${")".repeat(n)}`,
    (n) => `https://example.com/${".".repeat(n)}`,
    (n) => "https://a.b ".repeat(n / 4),
    (n) => "h".repeat(n),
    (n) => `https://example.com/${"👍".repeat(n / 2)}`,
    (n) => `https://example.com/a${"👍!".repeat(n / 3)}`,
    (n) => `'https://example.com/${"'".repeat(n)}`,
    (n) => `https://${"a.".repeat(n / 2)}`,
    (n) => `https://${"에a".repeat(n / 2)}`,
    (n) => `https://${"a에.".repeat(n / 3)}`,
    (n) => "https://a@".repeat(n / 10),
    (n) => "https://аa".repeat(n / 10),
    (n) => `https://example.com/${"a\u200c".repeat(n / 2)}`,
  ];
  for (const make of hostile) {
    const growth = growthOf((n) => linkify(make(n)), 5_000);
    assert.ok(growth < 4.5, `${make}: ${growth}`);
    const matching = matchingGrowthOf((n) => linkify(make(n)), 5_000);
    assert.ok(matching < 4.5, `${make}: ${matching}`);
  }
});
