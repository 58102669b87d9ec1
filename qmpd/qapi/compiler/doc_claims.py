"""Doc blocks against entities: every member and feature finds its description."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qmpd.qapi.compiler.define import ArrayPlan, EventPlan, ObjectPlan, Plan
from qmpd.qapi.compiler.dialect import Dialect, DocRules, Rule
from qmpd.qapi.compiler.doc import DocBlock
from qmpd.qapi.compiler.entities import (
    AlternateType,
    EnumMember,
    EnumType,
    Feature,
    Member,
    ObjectType,
)
from qmpd.qapi.compiler.parsed import Pragma
from qmpd.qapi.compiler.source import Site


class DocClaims:
    """Lets the parts of a completed entity claim what the doc block says of them.

    :param dialect: the rules of the schema's age
    :param pragma: the exceptions it asks for
    """

    def __init__(self, dialect: Dialect, pragma: Pragma) -> None:
        self._dialect = dialect
        self._pragma = pragma

    def claim(self, plan: Plan) -> None:
        """Match the doc block of a definition with its parts.

        :raises QapiError: a part that must have one has no description
        """
        if isinstance(plan, ArrayPlan) or plan.site is None or plan.doc is None:
            return
        doc, site, entity = plan.doc, plan.site, plan.entity
        self._claim_features(doc, entity.features, site)
        match entity:
            case EnumType():
                self._claim_all(doc, "value", entity.members, site)
            case ObjectType():
                if entity.base is not None and entity.base.implicit:
                    self._claim_all(doc, "member", entity.base.local_members, site)
                is_simple = isinstance(plan, ObjectPlan) and plan.is_simple
                if is_simple:
                    for name in ("type", *(branch.name for branch in entity.branches)):
                        doc.claim_member(name)
                else:
                    self._claim_all(doc, "member", entity.local_members, site)
            case AlternateType():
                for alternative in entity.alternatives:
                    self._claim_member(doc, "branch", alternative.name, site)
            case _ if isinstance(plan, EventPlan):
                arguments = plan.entity.arguments
                if arguments is not None and arguments.implicit:
                    self._claim_all(doc, "member", arguments.local_members, site)

    def _claim_all(
        self, doc: DocBlock, role: str, members: Iterable[Member | EnumMember], site: Site
    ) -> None:
        for member in members:
            self._claim_member(doc, role, member.name, site)
            self._claim_features(doc, member.features, site)

    def _claim_member(self, doc: DocBlock, role: str, name: str, site: Site) -> None:
        if doc.claim_member(name) or self._dialect.docs is DocRules.HISTORIC:
            return
        if site.name not in self._pragma.documentation_exceptions:
            raise site.error(f"{role} '{name}' lacks documentation")

    def _claim_features(self, doc: DocBlock, features: Sequence[Feature], site: Site) -> None:
        for feature in features:
            if not doc.claim_feature(feature.name) and self._dialect.names is Rule.STRICT:
                raise site.error(f"feature '{feature.name}' lacks documentation")
