"""Addresses of pages about people."""

from django.urls import path

from labelapp.accounts import shortcut_views, views

urlpatterns = [
    path("", views.home, name="home"),
    path("me/shortcuts/", shortcut_views.shortcuts, name="shortcuts"),
    path("invitations/<str:secret>/", views.invitation, name="invitation"),
    path("projects/<slug:slug>/members/", views.members, name="members"),
    path("projects/<slug:slug>/members/<int:pk>/", views.member_update, name="member_update"),
    path("projects/<slug:slug>/members/<int:pk>/end/", views.member_end, name="member_end"),
    path("projects/<slug:slug>/invitations/new/", views.invitation_new, name="invitation_create"),
    path("projects/<slug:slug>/invitations/<int:pk>/revoke/", views.invitation_withdraw, name="invitation_revoke"),
    path("projects/<slug:slug>/me/", views.profile, name="profile"),
]
