"""Chat templates written in the manner of families of models, strict and careless ones: what goes in may not vanish."""

from __future__ import annotations

from tests.tiny_models import CHATML, GEMMA, MISTRAL

_CALLS = (
    "{% for call in m.tool_calls or [] %}{{ '<tool_call>\n' }}"
    '{{ {"name": call.function.name, "arguments": call.function.arguments} | tojson }}'
    "{{ '\n</tool_call>' }}{% endfor %}"
)

LLAMA3 = (
    "{{ bos_token }}{% if tools %}{{ '<|im_start|>system\n\nYou may call these functions.\n\n' }}"
    "{% for t in tools %}{{ t | tojson(indent=4) }}{{ '\n\n' }}{% endfor %}{{ '<|im_end|>' }}{% endif %}"
    "{% for m in messages %}"
    "{% if m.tool_calls is defined and m.tool_calls | length > 1 %}"
    "{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}"
    "{% if m.role == 'tool' %}{{ '<|im_start|>ipython\n\n' }}{{ m.content | tojson }}{{ '<|im_end|>' }}"
    "{% elif m.tool_calls %}{{ '<|im_start|>assistant\n\n' }}{{ m.content | trim }}"
    '{{ \'{"name": "\' + m.tool_calls[0].function.name + \'", "parameters": \' }}'
    "{{ m.tool_calls[0].function.arguments | tojson }}{{ '}<|im_end|>' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n\n' + m.content | trim + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}"
)
"""One call a turn, results as JSON, texts stripped."""

QWEN3 = (
    "{% if tools %}{{ '<|im_start|>system\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}"
    "{{ '# Tools\n<tools>' }}{% for t in tools %}{{ '\n' }}{{ t | tojson }}{% endfor %}{{ '\n</tools><|im_end|>\n' }}"
    "{% elif messages[0].role == 'system' %}{{ '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}"
    "{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' or (m.role == 'system' and not loop.first) %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% elif m.role == 'assistant' %}{% set said = m.content %}"
    "{% if '</think>' in said %}{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if m.reasoning_content and loop.last %}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}"
    "{{ said }}" + _CALLS + "{{ '<|im_end|>\n' }}"
    "{% elif m.role == 'tool' %}"
    "{% if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\n<tool_response>\n' + m.content + '\n</tool_response>' }}"
    "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
"""Reasoning of earlier turns is left out; a role that it does not know is, too."""

MISTRAL_TOOLS = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% set ns = namespace(users=0) %}"
    "{% for m in rest %}{% if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}"
    "{% if (m.role == 'user') != (ns.users % 2 == 0) %}"
    "{{ raise_exception('After the optional system message, roles must alternate user/assistant') }}{% endif %}"
    "{% set ns.users = ns.users + 1 %}{% endif %}{% endfor %}"
    "{{ bos_token }}{% for m in rest %}"
    "{% if m.role == 'user' %}"
    "{% if tools and loop.last %}{{ '[AVAILABLE_TOOLS] ' }}{{ tools | tojson }}{{ '[/AVAILABLE_TOOLS]' }}{% endif %}"
    "{{ '[INST] ' }}{% if loop.last and system %}{{ system + '\n\n' }}{% endif %}{{ m.content + '[/INST]' }}"
    "{% elif m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for call in m.tool_calls %}"
    "{% if call.id is not defined or call.id | length != 9 %}"
    "{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}"
    '{{ {"name": call.function.name, "arguments": call.function.arguments, "id": call.id} | tojson }}'
    "{% if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}{{ ']' + eos_token }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}"
    "{% elif m.role == 'tool' %}{{ '[TOOL_RESULTS] ' }}"
    '{{ {"content": m.content | string, "call_id": m.tool_call_id} | tojson }}{{ \'[/TOOL_RESULTS]\' }}'
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
"""System text and tools go with the last user turn, and are lost where the last turn is another; short ids."""

PHI = (
    "{% for m in messages %}"
    "{% if m.role == 'system' and m.tools %}{{ '<|im_start|>system\n' + m.content + m.tools + '<|im_end|>' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% else %}{{ eos_token }}{% endif %}"
)
"""Takes any role; of tools and calls it knows nothing."""

BRANCHES = (
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '<|im_start|>user\n' + m.content + '<|im_end|>' }}"
    "{% elif m.role == 'assistant' %}{{ '<|im_start|>assistant\n' + m.content + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Leaves out every turn that is neither a user's nor an assistant's."""

PARTS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As models that see have it: content is a list of parts, and text that is none is left out."""

FIRST_PART = PARTS.replace(
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}",
    "{{ m.content[0].text }}",
)
"""Of a text, `[0]` is a letter, which has no text: it is left out, or the template fails."""

ESCAPES = (
    "{% if tools %}{{ tools | tojson(ensure_ascii=True) }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{{ m.content | e }}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""HTML's escapes."""

ONE_EXCHANGE = (
    "{% if messages | length > 2 %}{{ raise_exception('One question only') }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TEMPLATES = {
    "chatml": CHATML,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "llama3": LLAMA3,
    "qwen3": QWEN3,
    "mistral_tools": MISTRAL_TOOLS,
    "phi": PHI,
    "branches": BRANCHES,
    "parts": PARTS,
    "first_part": FIRST_PART,
    "escapes": ESCAPES,
    "one_exchange": ONE_EXCHANGE,
}
