"""The admin's first page: what needs a person, the lanes, credits, searches and webhooks, at a glance.

Each part is a module that turns counted rows (`docs/architecture.md`, "Counted, not added up") into what the template shows. A
part is shown to those who may see the rows behind it. `page` puts the parts together, and serves them once more to the page's
script.
"""
